/// Lets calls have their turns: each begins when the one before has ended, however it ended.
///
/// For an actor: its methods let others in wherever they wait.
package struct SerialQueue: Sendable {
    private var last: Task<Void, Never>?

    package init() {}

    /// Returns the call's task, which waits for its turn.
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

    /// Returns when the last turn has ended.
    package func finished() async { await last?.value }
}
