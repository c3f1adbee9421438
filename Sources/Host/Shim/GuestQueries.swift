import AgentAPI
import TTRPC

/// Passes calls of the agent's API on to the guest. Only the shim has a channel to the guest.
///
/// These methods report, and set routes. Calls that change a container go through the task API, which tracks its state.
package enum GuestQueries {
    private static let methods = [
        "ListProcesses", "StatsContainer", "GetMetrics", listInterfaces, "ListRoutes", "UpdateRoutes",
    ]

    /// The answer also names the links of the network namespace that the guest doesn't have.
    private static let listInterfaces = "ListInterfaces"

    /// Makes the guest's network equal to the sandbox's network namespace. The answer is that of ListInterfaces.
    package static let follow = "FollowNetwork"

    package static func service(_ sandboxes: SandboxHolder) -> RPCService {
        { method, payload, _ in
            guard methods.contains(method) || method == follow else { return nil }
            return try await mappingErrorsToRPC {
                let sandbox = try sandboxes.current()
                if method == follow { try await sandbox.reconcileNetwork() }
                guard method == follow || method == listInterfaces else {
                    return try await sandbox.ask(agent: method, payload)
                }
                // Messages that follow one another are one with the fields of both.
                let missing = await sandbox.missingLinks
                return try await sandbox.ask(agent: listInterfaces, payload)
                    + Grpc_Interfaces.with { $0.interfaces = missing }.serializedBytes()
            }
        }
    }
}
