/// Undo steps of an operation that acquires several things in turn.
///
/// Add a step after each acquisition. If the operation fails, `undo()` runs the steps, last in, first undone; if it
/// succeeds, `keep()` forgets them. `withUndo` does both.
package struct UndoStack: Sendable {
    /// Releases one thing. A step reports its own failures: the steps below it run in any case.
    package typealias Step = @Sendable () async -> Void

    private var steps: [Step] = []

    package init() {}

    package var isEmpty: Bool { steps.isEmpty }

    /// Adds the step that undoes the latest acquisition.
    package mutating func add(_ step: @escaping Step) { steps.append(step) }

    /// Forgets all steps: the operation has succeeded.
    package mutating func keep() { steps = [] }

    /// Runs the steps from the last to the first, once each.
    package mutating func undo(isolation: isolated (any Actor)? = #isolation) async {
        while let step = steps.popLast() { await step() }
    }
}

/// Runs `body`. If it throws, undoes what it added to the stack, then throws the same error.
/// - Throws: the errors of `body`.
package func withUndo<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (inout UndoStack) async throws -> Result
) async throws -> Result {
    var stack = UndoStack()
    do {
        let result = try await body(&stack)
        stack.keep()
        return result
    } catch {
        await stack.undo()
        throw error
    }
}

/// Undo steps, as `UndoStack`, of an operation that never suspends.
package struct BlockingUndoStack {
    private var steps: [() -> Void] = []

    /// Adds the step that undoes the latest acquisition.
    package mutating func add(_ step: @escaping () -> Void) { steps.append(step) }

    fileprivate mutating func undo() { while let step = steps.popLast() { step() } }
}

/// Runs `body`. If it throws, undoes what it added to the stack, then throws the same error.
/// - Throws: the errors of `body`.
package func withBlockingUndo<Result>(_ body: (inout BlockingUndoStack) throws -> Result) throws -> Result {
    var stack = BlockingUndoStack()
    do { return try body(&stack) } catch {
        stack.undo()
        throw error
    }
}
