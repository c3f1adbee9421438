import EventLoop
import NIOCore

/// Ends an unused shim: one that has had no container for a while. Its creator was killed between its start and the
/// first container, or after a failed Create; without a machine nothing else shows such a shim.
///
/// A connection is no use: a containerd that was killed connects again to every shim that it finds, and asks nothing.
final class UnusedShim: Sendable {
    private let watch: Task<Void, Never>

    /// - Parameters:
    ///   - isUnused: whether the shim has no container.
    ///   - end: called once.
    init(
        after limit: Duration, on loop: any EventLoop, isUnused: @escaping @Sendable () async -> Bool,
        end: @escaping @Sendable () async -> Void
    ) {
        watch = Task(executorPreference: LoopExecutor(loop)) {
            var count = 0
            while count < Self.looks {
                guard (try? await sleep(limit / Self.looks, on: loop)) != nil, !Task.isCancelled else { return }
                count = await isUnused() ? count + 1 : 0
            }
            await end()
        }
    }

    deinit { watch.cancel() }

    /// The number of looks in a row that must find no container. Nothing reports how long a shim has had none, so
    /// this polls; the time begins anew with each container that a look finds.
    private static let looks = 3
}
