import AgentAPI
import EventLoop

/// Filters the agent's reports of containers in which the guest's kernel has killed for lack of memory.
///
/// Managers trust these reports: only those of the sandbox's own containers pass, at a bounded rate.
struct OOMReports: Sendable {
    /// The shortest time between two reports of a container.
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
    /// Bounds the shim's work for an agent that floods it.
    private static let refusedReportPause = Duration.milliseconds(100)

    /// Waits until the guest's kernel kills in a container for lack of memory.
    /// - Returns: the container's id.
    /// - Throws: when the guest is gone.
    package func nextOutOfMemory() async throws -> String {
        while true {
            let container = try await agent().getOOMEvent(Grpc_GetOOMEventRequest(), timeout: nil).containerID
            switch oomReports.judge(container, known: containers.keys, at: .now) {
            case .passes: return container
            case .refused(let limit): limits.reached(limit, container)
            }
            try await sleep(Self.refusedReportPause, on: loop)
        }
    }
}
