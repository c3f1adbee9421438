/// The time that one part of the system waits for another.
///
/// Each room declares its own in a file `Deadlines.swift`. The table of docs/reliability.md lists all of them; a test
/// compares the two.
package struct Deadline: Sendable, Equatable {
    package let limit: Duration
    /// The event that must come in time, for docs/reliability.md.
    package let wait: String
    /// The key of configuration.toml, or the word of the guest kernel's command line, that sets it; `limit` is its
    /// default.
    package let key: String?
    /// The effect when it doesn't, for docs/reliability.md.
    package let consequence: String

    package init(_ limit: Duration, for wait: String, key: String? = nil, then consequence: String) {
        (self.limit, self.wait, self.key, self.consequence) = (limit, wait, key, consequence)
    }

    /// `limit` in whole seconds, rounded down.
    package var seconds: Int { Int(limit.components.seconds) }
}
