import Glibc
import LinuxKernel
import OCISpec
import Stdio
import Streams
import Synchronization

/// A process in a container: the first, or an added one.
package final class ContainerProcess: Sendable {
    package enum State: String, Sendable { case created, starting, running, stopped }

    package let id: String
    package let streams: StreamPaths
    package let specification: OCISpec.Process?

    /// The end of a process.
    package struct End: Sendable {
        package let status: Int32
        package let at: timespec
        /// A kernel has killed for lack of memory: the guest's in the container, or the host's the machine.
        package var isOutOfMemory = false
    }

    private struct Facts: Sendable {
        var state = State.created
        var wasStarted = false
        var isOutOfMemory = false
        var outputs: [StreamRelay.Handle] = []
        var input: StreamRelay.Handle?
        var hasClosedStreams = false
    }
    private let facts = Mutex(Facts())
    private let end = OneShot<End>()

    init(id: String, streams: StreamPaths, specification: OCISpec.Process?) {
        self.id = id
        self.streams = streams
        self.specification = specification
    }

    package var state: State { facts.withLock { $0.state } }

    /// Changes the state, unless it has become another one meanwhile: the process may have ended.
    func move(from old: State, to new: State) {
        facts.withLock { facts in
            guard facts.state == old else { return }
            facts.state = new
            if new == .starting { facts.wasStarted = true }
        }
    }

    /// Whether a manager has asked for its start, even where that failed.
    var wasStarted: Bool { facts.withLock { $0.wasStarted } }

    /// The process's end; nil while it lives.
    package var ended: End? { end.value }

    /// Records the end once, and resumes all waiters.
    func end(status: Int32) {
        let end = End(status: status, at: timeOfDay(), isOutOfMemory: facts.withLock { $0.isOutOfMemory })
        if self.end.complete(end) { facts.withLock { $0.state = .stopped } }
    }

    /// Notes, before the end, that a kernel has killed for lack of memory.
    func noteOutOfMemory() { facts.withLock { $0.isOutOfMemory = true } }

    package func waitForEnd() async -> End { await end.wait() }

    /// Streams of the process's output.
    var outputs: [StreamRelay.Handle] { facts.withLock { $0.outputs } }

    func connected(output: StreamRelay.Handle, _ relay: StreamRelay) {
        connected(output, relay) { $0.outputs.append(output) }
    }

    func connected(input: StreamRelay.Handle, _ relay: StreamRelay) { connected(input, relay) { $0.input = input } }

    /// Notes a stream, and ends it at once where it comes after `closeStreams`.
    private func connected(_ stream: StreamRelay.Handle, _ relay: StreamRelay, _ note: (inout Facts) -> Void) {
        let isLate = facts.withLock { facts in
            note(&facts)
            return facts.hasClosedStreams
        }
        if isLate { relay.end(stream) }
    }

    /// Ends all streams of a process that has failed to start: those that the guest has opened already, and those that
    /// come a moment later. The manager's ends, such as a terminal, would stay open else.
    func closeStreams(_ relay: StreamRelay?) {
        let open = facts.withLock { facts in
            facts.hasClosedStreams = true
            return facts.outputs + [facts.input].compactMap(\.self)
        }
        for stream in open { relay?.end(stream) }
    }

    /// Lets streams be opened, also after an attempt that failed.
    func expectStreams() { facts.withLock { ($0.hasClosedStreams, $0.outputs, $0.input) = (false, [], nil) } }

    /// Ends the input of a process that has ended.
    func endInput(_ relay: StreamRelay?) {
        if let input = facts.withLock({ $0.input }) { relay?.end(input) }
    }
}

/// The state of a process, for managers.
package struct ProcessReport: Sendable {
    package let bundle: String
    /// The container's, as managers see it.
    package let pid: Int32
    package let streams: StreamPaths
    package let state: ContainerProcess.State
    package let paused: Bool
    package let ended: ContainerProcess.End?
}
