/// The condition of `eventually` did not become true in time.
package struct NeverHappened: Error {}

/// Waits until `condition` is true.
/// - Throws: `NeverHappened` after ten seconds.
package func eventually(every pause: Duration = .milliseconds(1), _ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(10)
    while !condition() {
        guard .now < deadline else { throw NeverHappened() }
        try await Task.sleep(for: pause)
    }
}
