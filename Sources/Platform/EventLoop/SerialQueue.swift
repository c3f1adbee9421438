/// Runs calls one after the other; a failed call doesn't stop the next.
///
/// An actor needs this because its methods interleave wherever they await.
package struct SerialQueue: Sendable {
    private var last: Task<Void, Never>?

    package init() {}

    /// Adds a call.
    /// - Returns: the call's task, which waits for its turn.
    package mutating func take<Result: Sendable>(
        on executor: LoopExecutor, _ body: @escaping @Sendable () async throws -> Result
    ) -> Task<Result, any Error> {
        let before = last
        let turn = Task(executorPreference: executor) {
            await before?.value
            return try await body()
        }
        last = Task(executorPreference: executor) { _ = try? await turn.value }
        return turn
    }

    /// Waits until all calls have ended.
    package func finished() async { await last?.value }
}
