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

    package static func handlers(_ sandboxes: SandboxHolder) -> [String: RPCHandler] {
        var handlers: [String: RPCHandler] = [:]
        for method in methods {
            handlers[method] = { payload, _ in
                try await answering { try await sandboxes.current().ask(agent: method, payload) }
            }
        }
        handlers[follow] = { payload, _ in
            try await answering {
                let sandbox = try sandboxes.current()
                try await sandbox.followNetwork()
                return try await sandbox.ask(agent: "ListInterfaces", payload)
            }
        }
        return handlers
    }
}
