import AgentAPI
import TTRPC

/// Passes calls of the agent's API on to the guest. Only the shim has a channel to the guest.
///
/// These methods report, and set routes. Calls that change a container go through the task API, which tracks its state.
package enum GuestQueries {
    private static let methods = [
        "ListProcesses", "StatsContainer", "GetMetrics", "ListInterfaces", "ListRoutes", "UpdateRoutes",
    ]

    /// Makes the guest's network equal to the sandbox's network namespace. The answer is that of ListInterfaces.
    package static let follow = "FollowNetwork"

    package static func service(_ sandboxes: SandboxHolder) -> RPCService {
        { method, payload, _ in
            guard methods.contains(method) || method == follow else { return nil }
            return try await mappingErrorsToRPC {
                let sandbox = try sandboxes.current()
                guard method == follow else { return try await sandbox.ask(agent: method, payload) }
                try await sandbox.reconcileNetwork()
                return try await sandbox.ask(agent: "ListInterfaces", payload)
            }
        }
    }
}
