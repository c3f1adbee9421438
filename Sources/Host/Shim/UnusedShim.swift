import EventLoop
import NIOCore
import Synchronization

/// Ends an unused shim: one that has no container and no client for a while. Its creator was killed between its start
/// and the first container, or after a failed Create; without a machine nothing else shows such a shim.
final class UnusedShim: Sendable {
    private struct State {
        var clients = 0
        var timer: Scheduled<Void>?
    }
    private let state = Mutex(State())
    private let loop: any EventLoop
    private let limit: Duration
    private let isUnused: @Sendable () async -> Bool
    private let end: @Sendable () async -> Void

    /// - Parameter isUnused: whether the shim has no container.
    init(
        after limit: Duration, on loop: any EventLoop, isUnused: @escaping @Sendable () async -> Bool,
        end: @escaping @Sendable () async -> Void
    ) {
        (self.limit, self.loop, self.isUnused, self.end) = (limit, loop, isUnused, end)
        clientsChanged(0)
    }

    func clientsChanged(_ count: Int) {
        state.withLock { state in
            state.clients = count
            state.timer?.cancel()
            state.timer = count > 0 ? nil : schedule()
        }
    }

    private func schedule() -> Scheduled<Void> {
        loop.scheduleTask(in: TimeAmount(limit)) { [weak self, loop] in
            Task(executorPreference: LoopExecutor(loop)) { await self?.look() }
        }
    }

    /// Without a client a container may still live: looks again later.
    private func look() async {
        let isUnused = await isUnused()
        let clients = state.withLock { $0.clients }
        guard clients == 0 else { return }
        if isUnused { await end() } else { clientsChanged(0) }
    }
}
