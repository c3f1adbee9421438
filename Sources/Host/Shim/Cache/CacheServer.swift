import AgentAPI
import CLinux
import Cleanup
import Configuration
import FoundationEssentials
import Glibc
import Hypervisor
import LinuxKernel
import Sandbox

/// Keeps warm VMs, each with its shim, and hands them out: one thread, which waits in poll(2).
package final class CacheServer {
    private struct Machine {
        let name: String
        let process: ChildProcess
        let control: SharedDescriptor
        /// The fingerprint; nil when the guest's files could not be opened.
        let fingerprint: VMFingerprint?
        /// Facts of a machine that is ready; nil before.
        var facts: CachedMachine?
        var isTaken = false
    }

    /// The descriptors that it waits for.
    private enum Source {
        case machine(String)
        case stopSignal, client
    }

    private let configuration: Configuration
    private let path: String?
    private let shim: String
    private let endpoint: String
    private let number: Int
    private let listener: FileDescriptor
    private let stopSignal: SharedDescriptor
    private var machines: [Machine] = []
    private var last = 0
    /// The earliest time of the next boot, after one that failed.
    private var nextTry = ContinuousClock.now
    /// The earliest time of the next accept, after one that failed: without a descriptor for the connection, the listener stays readable.
    private var nextAccept = ContinuousClock.now
    private var wasFull = false
    /// The pauses: after a failed boot, and after a machine that ended too early.
    private static let longPause = Duration.seconds(10)
    private static let shortPause = Duration.seconds(1)

    /// - Parameters:
    ///   - shim: path of containerd-shim-kata-v2.
    ///   - stopSignal: readable when the server is to end.
    /// - Throws: `ConfigurationError` or `SystemError` for files that can't be used. `CacheError` when another server
    ///   answers already, or nothing can listen at the endpoint.
    package init(_ configuration: Configuration, path: String?, shim: String, stopSignal: SharedDescriptor) throws {
        self.configuration = configuration
        (self.path, self.shim, self.stopSignal) = (path, shim, stopSignal)
        endpoint = configuration[Keys.cacheEndpoint]
        number = configuration[Keys.cacheNumber]
        _ = try Self.fingerprint(of: configuration.openFiles(), configuration)
        if let other = try? MachineCache.status(at: endpoint) {
            throw CacheError("a VM cache server (process \(other.server)) answers at \(endpoint) already")
        }
        MachineCache.clearDead()
        do {
            try Files.makeDirectory(Files.parent(of: endpoint))
            listener = try UnixSocket.listen(endpoint, .messages)
        } catch { throw CacheError("factory.vm_cache_endpoint: no VM cache server can listen there: \(error)") }
    }

    /// Serves until `stopSignal` is readable or a client sends `quit`.
    /// - Parameter full: called once, when the configured number of machines is ready.
    /// - Throws: `CacheError` when the first machine can't be made, `SystemError` when its process can't.
    package func run(full: () -> Void) throws {
        defer { end() }
        while true {
            let now = ContinuousClock.now
            try refill(at: now)
            if !wasFull, waiting.count >= number {
                wasFull = true
                full()
            }
            var polled = PollSet<Source>()
            // In this order: what a machine has said is known before a client is answered.
            for machine in machines { polled.add(machine.control.raw, for: .machine(machine.name)) }
            polled.add(stopSignal.raw, for: .stopSignal)
            if now >= nextAccept { polled.add(listener.raw, for: .client) }
            guard polled.wait([nextTry, nextAccept].filter { $0 > now }.min().map { $0 - now }) > 0 else { continue }
            for (source, _) in polled.ready {
                switch source {
                case .machine(let name): try hear(name)
                case .stopSignal: return
                case .client: if answer() { return }
                }
            }
        }
    }

    private var waiting: [Machine] { machines.filter { $0.facts != nil && !$0.isTaken } }

    // MARK: Machines

    /// Boots missing machines, one after the other.
    private func refill(at now: ContinuousClock.Instant) throws {
        let isMaking = machines.contains { $0.facts == nil }
        guard !isMaking, waiting.count < number, now >= nextTry else { return }
        last += 1
        let name = "\(MachineCache.prefix)\(getpid())-\(last)"
        let ends = try SocketPair()
        var command = Command(shim, ["-id", name, "-cached", CachedShim.argvPadding])
        command.set("TTRPC_ADDRESS", nil)
        command.set(SandboxHolder.configurationVariable, path)
        command.name = "containerd-shim-kata-v2"
        command.directory = "/"
        command.newSession = true
        command.descriptors = [2: 2, 3: ends.theirs.raw]
        // Taken before the files are read: a file that changes meanwhile gives another fingerprint.
        let fingerprint = fingerprint
        let process = try ChildProcess(command)
        try process.whenEnded("shim") { _ in }
        let control = SharedDescriptor(ends.keepingOurs())
        machines.append(Machine(name: name, process: process, control: control, fingerprint: fingerprint))
    }

    /// Handles a message or the end of a shim: it is ready, has ended, or serves a sandbox now.
    private func hear(_ name: String) throws {
        guard let index = machines.firstIndex(where: { $0.name == name }) else { return }
        let message = try? machines[index].control.descriptor.receive(limit: CacheRequest.longest)
        if let answer = message.flatMap({ decodeMessage(CacheAnswer.self, $0.bytes) }) {
            if let facts = answer.machines.first {
                machines[index].facts = facts
                return
            }
            if let refusal = answer.refusal, !machines[index].isTaken {
                guard wasFull || !waiting.isEmpty else { throw CacheError(refusal) }
                writeError("kata-runtime: a machine of the cache: \(refusal)")
                nextTry = .now + Self.longPause
                return
            }
        }
        let machine = machines.remove(at: index)
        if machine.facts == nil { nextTry = max(nextTry, .now + Self.shortPause) }
        clear(machine)
    }

    private func clear(_ machine: Machine) {
        let directory = Ledger.machines + "/" + machine.name
        if Files.exists(directory) {
            // The shim has closed its end and is exiting.
            if !machine.isTaken {
                ProcessIdentity(machine.process.pid)?.kill(
                    after: Deadline.cacheFarewell.limit, within: Deadline.process.limit)
            }
            try? Ledger.cleanUpDead(directory)
        }
    }

    // MARK: Answers

    /// - Returns: whether this was the last one.
    private func answer() -> Bool {
        let raw = clx_accept(listener.raw)
        guard raw >= 0 else {
            nextAccept = .now + Listener.pause
            return false
        }
        let client = FileDescriptor(owning: raw)
        guard let user = client.peer, FileOwner.isTrusted(user) else { return false }
        client.setReadLimit(Deadline.cacheRequest.limit)
        guard let message = try? client.receive(limit: CacheRequest.longest) else { return false }
        let descriptors = message.descriptors.map { SharedDescriptor(FileDescriptor(owning: $0)) }
        guard let request = decodeMessage(CacheRequest.self, message.bytes) else { return false }
        switch request.wish {
        case .status: try? client.tell(CacheAnswer(machines: waiting.compactMap(\.facts)))
        case .quit:
            end()
            try? client.tell(CacheAnswer())
            return true
        case .take:
            guard let taker = request.taker, descriptors.count == 3 else { return false }
            do { try hand(to: taker, descriptors) } catch {
                try? descriptors[0].descriptor.tell(CacheAnswer(refusal: "\(error)"))
            }
        }
        return false
    }

    private func hand(to taker: CacheTaker, _ descriptors: [SharedDescriptor]) throws {
        if let reason = refusal(of: taker) { throw CacheError(reason) }
        dropStale()
        while let machine = waiting.first {
            if let point = unseenMount(of: taker, by: machine) {
                throw CacheError(
                    "\(point) was mounted later than the cached machines' shims, and does not reach them: mount --make-rshared / and start kata-runtime factory init again"
                )
            }
            guard let index = machines.firstIndex(where: { $0.name == machine.name }) else { break }
            machines[index].isTaken = true
            do {
                try machine.control.descriptor.tell(taker, descriptors: descriptors.map(\.raw))
                return
            } catch {
                // This machine has just ended; try the next one.
            }
        }
        throw CacheError("none of the \(number) is ready (factory.vm_cache_number)")
    }

    private func refusal(of taker: CacheTaker) -> String? {
        if taker.version != Version.current {
            return
                "those of the server at \(endpoint) are of version \(Version.current): start kata-runtime factory init again"
        }
        if taker.settings != configuration.cacheSettings {
            return
                "those of the server at \(endpoint) were made with other settings: start kata-runtime factory init again"
        }
        if taker.mounts != Mounts.namespace {
            return "the server at \(endpoint) runs in another mount namespace"
        }
        return nil
    }

    private func unseenMount(of taker: CacheTaker, by machine: Machine) -> String? {
        guard let theirs = try? MountTable.read(of: "\(taker.process)"),
            let ours = try? MountTable.read(of: "\(machine.process.pid)")
        else { return nil }
        return MountTable.firstMissing(of: theirs, in: ours)
    }

    /// The fingerprint that a new machine would have.
    private var fingerprint: VMFingerprint? {
        try? Self.fingerprint(of: configuration.openFiles(checkingHashes: false), configuration)
    }

    private static func fingerprint(of files: BootFiles, _ configuration: Configuration) throws -> VMFingerprint {
        SandboxPlan(
            warm: SandboxPaths(sandbox: "cached"), basis: try SandboxPlan.Basis(configuration, files: files)
        ).fingerprint(version: Version.current)
    }

    /// Ends machines whose boot files have changed since.
    private func dropStale() {
        let now = fingerprint
        for machine in waiting where machine.fingerprint != now {
            machines.removeAll { $0.name == machine.name }
            end(machine)
        }
    }

    // MARK: The end

    private func end(_ machine: Machine) {
        shutdown(machine.control.raw, Int32(SHUT_RDWR))
        clear(machine)
    }

    private func end() {
        // SAFETY: the call only reads the path.
        unsafe unlink(endpoint)
        let left = machines.filter { !$0.isTaken }
        machines = []
        for machine in left { shutdown(machine.control.raw, Int32(SHUT_RDWR)) }
        for machine in left { clear(machine) }
    }
}
