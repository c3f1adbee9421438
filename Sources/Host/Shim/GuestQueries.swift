import AgentAPI
import TTRPC

/// The agent's answers for who asks the shim: the shim alone has a channel to the guest.
///
/// These methods look and measure, and set routes; what changes a container goes through the task API, which keeps count of it.
package enum GuestQueries {
    private static let methods = [
        "ListProcesses", "StatsContainer", "GetMetrics", "ListInterfaces", "ListRoutes", "UpdateRoutes",
    ]

    /// Brings the guest to what the sandbox's network namespace holds now; answers as ListInterfaces does.
    package static let follow = "FollowNetwork"

    package static func service(_ sandboxes: SandboxHolder) -> RPCService {
        { method, payload, _ in
            guard methods.contains(method) || method == follow else { return nil }
            return try await answering {
                let sandbox = try sandboxes.current()
                guard method == follow else { return try await sandbox.ask(agent: method, payload) }
                try await sandbox.reconcileNetwork()
                return try await sandbox.ask(agent: "ListInterfaces", payload)
            }
        }
    }
}
