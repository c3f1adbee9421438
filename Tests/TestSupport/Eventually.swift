/// The condition of `eventually` did not become true in time.
package struct NeverHappened: Error {
    package init() {}
}

/// Waits until `condition` is true.
/// - Throws: `NeverHappened` after twenty seconds, as other tests run beside.
package func eventually(every pause: Duration = .milliseconds(1), _ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while !condition() {
        guard .now < deadline else { throw NeverHappened() }
        try await Task.sleep(for: pause)
    }
}
