import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Storage
import Streams
import Synchronization

/// A container of a sandbox. Only the sandbox's actor touches it.
final class Container {
    let id: String
    let bundle: String
    /// Known once it is created.
    var hooks: HostHooks?
    /// Stands for it on the host, among its manager's mounts; nil where the manager watches the machine.
    var process: Int32?
    /// Path of what tells it who resolves names, on the host; a manager may write it until the container starts.
    var resolverConfiguration: String?
    let initial: ContainerProcess
    var processes: [String: ContainerProcess]
    var paused = false
    /// What it asks of the machine.
    var demand = Demand(nil)
    /// How long the guest took to create it.
    var creation = Duration.zero
    /// Disks of the host that the machine has for it.
    var disks: [HostDisk.Identity] = []
    /// Sockets of the host that its programs may connect to, by the ports that stand for them.
    var sockets: [(port: UInt32, socket: HostSocket)] = []
    /// As which its programs connect to those.
    var identities = ContainerIdentities(IDMaps())
    /// What the guest sees of the host for it, and perhaps for others.
    var shown: [ShownPath.Identity] = []
    /// What was made for it alone on the host, in order.
    var made: [Ledger.RecordID] = []

    init(id: String, bundle: String, streams: StreamPaths) {
        self.id = id
        self.bundle = bundle
        initial = ContainerProcess(id: "", streams: streams, specification: nil)
        processes = ["": initial]
    }

    func process(_ exec: String) throws(SandboxError) -> ContainerProcess {
        guard let process = processes[exec] else {
            throw SandboxError(.notFound, "process \(exec) of container \(id) does not exist")
        }
        return process
    }

    /// Takes from the host what was made for it alone.
    func takeAway(from ledger: Ledger) {
        for number in made.reversed() { ledger.undo(number) }
        made = []
    }
}

/// A process in a container: the first, or one that was added by exec.
package final class ContainerProcess: Sendable {
    package enum State: String, Sendable { case created, running, stopped }

    package let id: String
    package let streams: StreamPaths
    package let specification: OCISpec.Process?

    private struct Facts: Sendable {
        var state = State.created
        var ended: (status: Int32, at: timespec)?
        var waiters: [CheckedContinuation<(status: Int32, at: timespec), Never>] = []
        var outputs: [StreamRelay.Handle] = []
        var input: StreamRelay.Handle?
    }
    private let facts = Mutex(Facts())

    init(id: String, streams: StreamPaths, specification: OCISpec.Process?) {
        self.id = id
        self.streams = streams
        self.specification = specification
    }

    package var state: State {
        get { facts.withLock { $0.state } }
        set { facts.withLock { $0.state = newValue } }
    }
    package var ended: (status: Int32, at: timespec)? { facts.withLock { $0.ended } }

    /// Records the end once and wakes everyone who waits for it.
    func end(status: Int32) {
        let end = (status: status, at: timeOfDay())
        let waiters = facts.withLock { facts -> [CheckedContinuation<(status: Int32, at: timespec), Never>] in
            guard facts.ended == nil else { return [] }
            facts.state = .stopped
            facts.ended = end
            defer { facts.waiters = [] }
            return facts.waiters
        }
        for waiter in waiters { waiter.resume(returning: end) }
    }

    func waitForEnd() async -> (status: Int32, at: timespec) {
        await withCheckedContinuation { continuation in
            let end = facts.withLock { facts in
                if facts.ended == nil { facts.waiters.append(continuation) }
                return facts.ended
            }
            if let end { continuation.resume(returning: end) }
        }
    }

    /// The streams that carry what the process writes.
    var outputs: [StreamRelay.Handle] { facts.withLock { $0.outputs } }

    func connected(output: StreamRelay.Handle) { facts.withLock { $0.outputs.append(output) } }
    func connected(input: StreamRelay.Handle) { facts.withLock { $0.input = input } }

    /// A process that has ended reads no more.
    func endInput(_ relay: StreamRelay?) {
        if let input = facts.withLock({ $0.input }) { relay?.end(input) }
    }
}

/// What a manager asks of a process.
package struct ProcessReport: Sendable {
    package let bundle: String
    package let streams: StreamPaths
    package let state: ContainerProcess.State
    package let paused: Bool
    package let ended: (status: Int32, at: timespec)?
}
