import Synchronization

/// The end of a process, which some wait for and others ask about.
package final class Ending: Sendable {
    private struct Facts: Sendable {
        var end: ProcessEnd?
        var waiters: [CheckedContinuation<ProcessEnd, Never>] = []
    }
    private let facts = Mutex(Facts())

    package init() {}

    /// nil while the process lives.
    package var end: ProcessEnd? { facts.withLock { $0.end } }

    /// It has come. To be called once.
    package func tell(_ end: ProcessEnd) {
        let waiters = facts.withLock { facts in
            facts.end = end
            defer { facts.waiters = [] }
            return facts.waiters
        }
        for waiter in waiters { waiter.resume(returning: end) }
    }

    package func wait() async -> ProcessEnd {
        await withCheckedContinuation { continuation in
            let end = facts.withLock { facts in
                if facts.end == nil { facts.waiters.append(continuation) }
                return facts.end
            }
            if let end { continuation.resume(returning: end) }
        }
    }
}
