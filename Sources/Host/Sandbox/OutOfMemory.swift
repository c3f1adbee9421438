import AgentAPI
import EventLoop

/// Reports of an agent that the guest's kernel has killed in a container for want of memory.
///
/// A manager takes a report as a fact about the container of that name, so only those of the sandbox's own containers pass, and no more
/// than it can take.
struct OutOfMemoryReports: Sendable {
    /// Between two reports of a container.
    private static let reportPause = Duration.seconds(1) / GuestLimit.outOfMemory.value
    private var last: [String: ContinuousClock.Instant] = [:]

    enum Verdict: Equatable, Sendable {
        case passes
        case refused(GuestLimit)
    }

    mutating func judge(_ container: String, known: some Collection<String>, at now: ContinuousClock.Instant) -> Verdict
    {
        guard known.contains(container) else { return .refused(.unknownContainer) }
        last = last.filter { known.contains($0.key) }
        if let before = last[container], now - before < Self.reportPause { return .refused(.outOfMemory) }
        last[container] = now
        return .passes
    }
}

extension Sandbox {
    /// Waits until the kernel of the guest has killed in a container for want of memory. Returns the container's id.
    /// - Throws: when the guest has gone.
    package func nextOutOfMemory() async throws -> String {
        while true {
            let container = try await agent().getOOMEvent(Grpc_GetOOMEventRequest(), timeout: nil).containerID
            switch outOfMemory.judge(container, known: containers.keys, at: .now) {
            case .passes: return container
            case .refused(let limit): limits.reached(limit, container)
            }
            // An agent that answers at once costs the shim no more than this.
            try await sleep(.milliseconds(100), on: loop)
        }
    }
}
