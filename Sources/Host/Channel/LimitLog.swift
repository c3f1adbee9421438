import AgentAPI
import LinuxKernel
import Logging
import Synchronization

/// Logs each limit that a sandbox's guest reaches once: a guest could cause a flood.
package final class LimitLog: Sendable {
    private let log: Logger
    private let logged = Mutex<Set<GuestLimit>>([])

    package init(_ log: Logger) { self.log = log }

    /// - Parameter what: the call, container or socket that it concerns.
    package func reached(_ limit: GuestLimit, _ what: String) {
        guard logged.withLock({ $0.insert(limit).inserted }) else { return }
        log.warning(
            "the guest has reached a limit; this is not logged again",
            metadata: ["limit": "\(limit.rawValue)", "of": "\(what.printable(limit: 200))"])
    }
}
