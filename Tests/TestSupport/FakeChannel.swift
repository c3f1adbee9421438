import Channel
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import Synchronization

/// A channel that leads to the test's agent, and hands the test the streams that a guest would open.
package final class FakeChannel: GuestChannel, GuestChannelKind {
    private struct State: Sendable {
        var listeners: [UInt32: @Sendable (Int32) -> Void] = [:]
        var isClosed = false
        var loop: (any EventLoop)?
        var dials: [EventLoopPromise<Int32>] = []
        var agents: [Int32]
    }
    private let state: Mutex<State>

    /// - Parameter agents: the host's ends of agents, one for each dial; without one a dial waits.
    package init(_ agents: [FakeAgent]) { state = Mutex(State(agents: agents.map(\.host))) }

    package func open(on loop: any EventLoop, limits: LimitLog) throws -> any GuestChannel {
        state.withLock { $0.loop = loop }
        return self
    }

    package func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        enum Step {
            case agent(Int32)
            case wait(EventLoopPromise<Int32>, any EventLoop)
        }
        let step = try state.withLock { state -> Step in
            guard !state.isClosed, let loop = state.loop else { throw ChannelError("the guest's vsock is closed") }
            if !state.agents.isEmpty { return .agent(state.agents.removeFirst()) }
            let promise = loop.makePromise(of: Int32.self)
            state.dials.append(promise)
            return .wait(promise, loop)
        }
        switch step {
        case .agent(let socket): return socket
        case .wait(let promise, let loop):
            let timer = loop.scheduleTask(in: TimeAmount(timeout)) {
                promise.fail(ChannelError("the guest did not answer on vsock port \(port) in time"))
            }
            defer { timer.cancel() }
            return try await promise.futureResult.get()
        }
    }

    package func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws {
        state.withLock { $0.listeners[port] = accept }
    }

    package func stopListening(port: UInt32) { state.withLock { $0.listeners[port] = nil } }

    package func close() {
        let dials = state.withLock { state in
            (state.isClosed, state.listeners) = (true, [:])
            defer { state.dials = [] }
            return state.dials
        }
        for dial in dials { dial.fail(ChannelError("the guest's vsock is closed")) }
    }

    // MARK: The test's side

    package var isClosed: Bool { state.withLock { $0.isClosed } }
    /// Whether a sandbox has opened it and not closed it.
    package var isOpen: Bool { state.withLock { $0.loop != nil && !$0.isClosed } }
    /// The host's ends of the agents that were not dialled yet.
    package var waiting: [Int32] { state.withLock { $0.agents } }
    /// Host ports that wait for a stream of the guest.
    package var ports: [UInt32] { state.withLock { $0.listeners.keys.sorted() } }

    /// A dial waits for its agent.
    package var isDialled: Bool { state.withLock { !$0.dials.isEmpty } }

    /// Opens a stream as the guest does. Returns the guest's end; nil where nothing listens.
    package func connect(_ port: UInt32) -> LinuxKernel.FileDescriptor? {
        guard let accept = state.withLock({ $0.listeners[port] }) else { return nil }
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &ends) == 0 else { return nil }
        accept(ends[0])
        return LinuxKernel.FileDescriptor(owning: ends[1])
    }
}
