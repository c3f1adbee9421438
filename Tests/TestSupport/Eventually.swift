/// The condition of `eventually` did not become true in time.
package struct NeverHappened: Error {
    /// Where the wait stands in the test's source.
    package let line: Int

    package init(line: Int = #line) { self.line = line }
}

/// Waits until `condition` is true.
/// - Throws: `NeverHappened` after twenty seconds, as other tests run beside.
package func eventually(
    every pause: Duration = .milliseconds(1), at line: Int = #line, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while try await !condition() {
        guard .now < deadline else { throw NeverHappened(line: line) }
        try await Task.sleep(for: pause)
    }
}
