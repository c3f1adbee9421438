extension Duration {
    /// The limit of a wait that a passing test never reaches, also on a machine that does much else.
    package static let longWait = Duration.seconds(120)
}

/// The condition of `eventually` did not become true in time.
package struct NeverHappened: Error {
    /// Where the wait stands in the test's source.
    package let line: Int

    package init(line: Int = #line) { self.line = line }
}

/// Waits until `condition` is true.
/// - Throws: `NeverHappened` after `longWait`.
package func eventually(
    every pause: Duration = .milliseconds(1), at line: Int = #line, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .longWait
    while try await !condition() {
        guard .now < deadline else { throw NeverHappened(line: line) }
        try await Task.sleep(for: pause)
    }
}
