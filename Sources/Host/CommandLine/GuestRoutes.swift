import AgentAPI
import OCISpec
import Shim

/// Lists and replaces the routes of a container's guest (`kata-network`).
package struct GuestRoutes {
    private let task: TaskClient

    /// Connects to the shim of a running container.
    /// - Throws: as `RuntimeContext.connect(toRunning:)`.
    package init(of id: String, in context: RuntimeContext) throws { task = try context.connect(toRunning: id) }

    /// Prints all routes as JSON.
    /// - Throws: `RPCError` of the shim or the agent.
    package func printAll() throws {
        let answer: Grpc_Routes = try task.ask("ListRoutes", Grpc_ListRoutesRequest())
        printGuest(answer.routes.map(GuestRoute.init).json())
    }

    /// Replaces all routes, and prints the new ones.
    /// - Parameter file: a JSON list as `printAll` prints; `-` for standard input.
    /// - Throws: `SystemError` for a file that can't be read, `RuntimeError` for another content, `RPCError` of the
    ///   shim or the agent.
    package func replace(by file: String) throws {
        let routes: [GuestRoute] = try InputFile.decode(
            file,
            "list of routes such as [{\"dest\": \"10.0.0.0/8\", \"gateway\": \"10.1.0.1\", \"device\": \"eth0\"}]")
        var request = Grpc_UpdateRoutesRequest()
        request.routes.routes = routes.map(\.message)
        let answer: Grpc_Routes = try task.ask("UpdateRoutes", request)
        printGuest(answer.routes.map(GuestRoute.init).json())
    }
}

/// A route in Kata's JSON format.
private struct GuestRoute: Codable {
    let dest: String?
    let gateway: String?
    let device: String
    let source: String?
    let scope: UInt32?
    let family: Int?
    let mtu: UInt32?
    let metric: UInt32?

    init(_ route: Types_Route) {
        (dest, gateway, device, source) = (route.dest, route.gateway, route.device, route.source)
        (scope, family, mtu) = (route.scope, route.family.rawValue, route.mtu)
        metric = route.priority
    }

    var message: Types_Route {
        var route = Types_Route()
        (route.dest, route.gateway, route.device) = (dest ?? "", gateway ?? "", device)
        (route.source, route.scope, route.mtu) = (source ?? "", scope ?? 0, mtu ?? 0)
        route.priority = metric ?? 0
        route.family = Types_IPFamily(rawValue: family ?? 0) ?? .v4
        return route
    }
}
