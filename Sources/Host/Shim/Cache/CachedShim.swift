import AgentAPI
import CLinux
import Cleanup
import Configuration
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Sandbox

import protocol NIOCore.EventLoop
import struct NIOCore.EventLoopPromise

/// A shim that boots a machine in advance, waits, and becomes the shim of the sandbox that takes it.
///
/// Descriptor 3 connects it with its server. It ends when the server ends.
package enum CachedShim {
    /// The request and the descriptors of a sandbox that takes the machine.
    private struct Offer: Sendable {
        let taker: CacheTaker
        let conversation: SharedDescriptor
        let directory: SharedDescriptor
        let log: SharedDescriptor
    }

    /// Boots a machine, waits for a sandbox, and serves it until Shutdown.
    /// - Throws: `SystemError` or `LedgerError` before its ledger has begun. Then `ConfigurationError`, `SandboxError`
    ///   of the boot, `CacheError` when the machine ends while it waits, or an error of the takeover. The server gets
    ///   the reason for each of these, and the ledger ends.
    package static func run(_ flags: ShimFlags) throws {
        // Lowers the priority first: threads and children inherit it.
        let priority = getpriority(Int32(PRIO_PROCESS.rawValue), 0)
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, priority + 10)
        try ShimServer.begin(flags.id)
        let paths = SandboxPaths(sandbox: flags.id)
        let control = SharedDescriptor(FileDescriptor(owning: 3))
        let ledger = try Ledger.begin(in: paths.machine)
        do {
            // Recorded first, as every shim records its socket first: what follows is the machine's.
            let socket = try ledger.add(.socket(path: paths.machine + "/shim.sock"))
            let loop = try makeEventLoop(descriptors: ShimServer.descriptors)
            let offered = loop.makePromise(of: Offer.self)
            try startThread("control") { waitForOffer(control, ledger, offered) }
            let configuration = ShimServer.environment(SandboxHolder.configurationVariable)
            let ready = Task(executorPreference: LoopExecutor(loop)) {
                do { return try await makeWarm(flags, configuration, ledger, loop, priority, control, offered) } catch {
                    offered.fail(error)
                    throw error
                }
            }
            let offer = try offered.futureResult.wait()
            let warm = try waiting(on: loop) { try await ready.value }
            try become(offer, control, ledger, socket, warm, loop)
        } catch {
            try? control.descriptor.tell(CacheAnswer(refusal: "\(error)"))
            ledger.end()
            throw error
        }
    }

    /// A last argument of blanks: room for the command line of the shim that a cached one becomes.
    static let argvPadding = String(repeating: " ", count: 500)

    /// Sets the command line that operators see.
    private static func setCommandLine(_ words: [String]) {
        guard let own = try? Files.read("/proc/self/cmdline") else { return }
        let bytes = words.joined(separator: "\0") + "\0"
        // SAFETY: the call writes within the arguments, whose size /proc tells; nothing reads them after the start.
        unsafe clx_set_command_line(bytes, bytes.utf8.count, own.count)
    }

    // MARK: Before a sandbox takes it

    private static func makeWarm(
        _ flags: ShimFlags, _ path: String?, _ ledger: Ledger, _ loop: any EventLoop, _ priority: Int32,
        _ control: SharedDescriptor, _ offered: EventLoopPromise<Offer>
    ) async throws -> WarmSandbox {
        let configuration = try Configuration.load(path, keys: .all)
        let basis = try SandboxPlan.Basis(configuration, files: configuration.openFiles())
        // The directory is renamed later; a descriptor stays valid.
        let directory = try FileDescriptor.open(ledger.directory, O_RDONLY | O_DIRECTORY).take()
        let plan = SandboxPlan(
            warm: SandboxPaths(sandbox: flags.id, logs: "/proc/self/fd/\(directory)"), basis: basis)
        let sandbox = Sandbox(plan: plan, ledger: ledger, loop: loop, log: ShimServer.log(flags))
        let warm = WarmSandbox(sandbox, version: Version.current)
        try await sandbox.boot()
        try await sandbox.warmUp()
        let machine = CachedMachine(
            process: await sandbox.pid, vcpus: plan.machine.vcpus, memoryMiB: plan.machine.memoryMiB)
        for process in await sandbox.processes { setPriority(of: process, priority) }
        clx_trim_memory()
        Task(executorPreference: LoopExecutor(loop)) {
            await sandbox.waitForMachine()
            offered.fail(CacheError("the machine ended while it waited"))
        }
        try control.descriptor.tell(CacheAnswer(machines: [machine]))
        return warm
    }

    /// Sets the priority of every thread (setpriority(2), "C library/kernel differences").
    private static func setPriority(of process: Int32, _ priority: Int32) {
        for thread in Files.list("/proc/\(process)/task").compactMap({ UInt32($0) }) {
            setpriority(Int32(PRIO_PROCESS.rawValue), thread, priority)
        }
    }

    /// Waits for one offer. When the server ends before, for any reason, this shim ends too.
    private static func waitForOffer(
        _ control: SharedDescriptor, _ ledger: Ledger, _ offered: EventLoopPromise<Offer>
    ) {
        let message = try? control.descriptor.receive(limit: CacheRequest.longest)
        guard let message, let taker = decodeMessage(CacheTaker.self, message.bytes), message.descriptors.count == 3,
            (try? Identifier.check(taker.id, "sandbox id")) != nil
        else {
            // Silences stderr: an intended end is no error.
            if let null = try? FileDescriptor.open("/dev/null", O_WRONLY) { dup2(null.raw, 2) }
            ledger.end()
            exit(0)
        }
        let descriptors = message.descriptors.map { SharedDescriptor(FileDescriptor(owning: $0)) }
        offered.succeed(
            Offer(taker: taker, conversation: descriptors[0], directory: descriptors[1], log: descriptors[2]))
    }

    // MARK: After a sandbox has taken it

    private static func become(
        _ offer: Offer, _ control: SharedDescriptor, _ ledger: Ledger, _ socket: Ledger.RecordID, _ warm: WarmSandbox,
        _ loop: any EventLoop
    ) throws {
        let taker = offer.taker
        let listener: Int32
        do {
            try check("enter", "the shim's directory") { fchdir(offer.directory.raw) }
            try check("write to", "the shim's log") { dup2(offer.log.raw, 2) }
            var due: [DueHooks] = []
            try ledger.move(to: taker.id) { due = DueHooks.claimAll(in: $0) }
            // The due hooks of a dead sandbox with this name.
            for hooks in due { hooks.run { writeError("\($0)") } }
            try ledger.replace(socket, by: .socket(path: taker.socket))
            try Files.makeDirectory(Files.parent(of: taker.socket))
            listener = try UnixSocket.listen(taker.socket).take()
            if let score = taker.killFirst {
                for process in try waiting(on: loop, { await warm.sandbox.processes }) {
                    // Lowering the score needs CAP_SYS_RESOURCE.
                    try? Files.write("/proc/\(process)/oom_score_adj", score)
                }
            }
            try offer.conversation.descriptor.tell(CacheAnswer())
            offer.conversation.descriptor.setReadLimit(Deadline.cacheAnswer.limit)
            guard try offer.conversation.descriptor.receive(limit: 1).bytes == [1] else {
                throw CacheError("the process that took the machine has ended")
            }
        } catch {
            try? offer.conversation.descriptor.tell(CacheAnswer(refusal: "\(error)"))
            throw error
        }
        // The server stops supervising this shim.
        shutdown(control.raw, Int32(SHUT_RDWR))
        var flags = try ShimFlags(["-id", taker.id])
        (flags.namespace, flags.address, flags.publishBinary) = (taker.namespace, taker.address, taker.publishBinary)
        flags.debug = taker.debug
        setCommandLine([
            "containerd-shim-kata-v2", "-namespace", flags.namespace, "-id", flags.id, "-socket", taker.socket,
        ])
        try ShimServer.serve(
            flags, publisher: taker.publisher, configuration: taker.configuration, ledger, listener: listener,
            loop, warm, limits: taker.limits)
    }
}
