import AgentAPI
import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec

struct Network: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-network", abstract: "Shows and changes the links and routes of a container's guest.",
        subcommands: [
            AddInterface.self, DelInterface.self, ListInterfaces.self, ListRoutes.self, UpdateRoutes.self,
        ])

    @ParentCommand var runtime: KataRuntime

    /// - Parameters:
    ///   - file: with JSON; `-` for standard input.
    ///   - expected: what an error says that it should be.
    static func read<Value: Decodable>(_ file: String, _ expected: String) throws -> Value {
        let descriptor = file == "-" ? FileDescriptor(owning: dup(0)) : try FileDescriptor.open(file, O_RDONLY)
        let bytes = try descriptor.readAll(file, limit: 1 << 20)
        do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch {
            throw RuntimeError("\(file): not a JSON \(expected)")
        }
    }

    struct ListInterfaces: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-ifaces", abstract: "Prints the guest's links as JSON.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        func run() throws {
            let task = try network.runtime.global.running(id)
            let answer: Grpc_Interfaces = try task.ask("ListInterfaces", Grpc_ListInterfacesRequest())
            show(answer.interfaces.map(InterfaceRow.init).json())
        }
    }

    struct ListRoutes: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-routes", abstract: "Prints the guest's routes as JSON.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        func run() throws {
            let task = try network.runtime.global.running(id)
            let answer: Grpc_Routes = try task.ask("ListRoutes", Grpc_ListRoutesRequest())
            show(answer.routes.map(RouteRow.init).json())
        }
    }

    struct UpdateRoutes: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "update-routes",
            abstract:
                "Replaces the guest's routes by a JSON list such as list-routes prints; prints what is there then.")
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the list; - for standard input.") var file: String
        @ParentCommand var network: Network

        func run() throws {
            let rows: [RouteRow] = try Network.read(
                file,
                "list of routes such as [{\"dest\": \"10.0.0.0/8\", \"gateway\": \"10.1.0.1\", \"device\": \"eth0\"}]")
            var request = Grpc_UpdateRoutesRequest()
            request.routes.routes = rows.map(\.wire)
            let answer: Grpc_Routes = try network.runtime.global.running(id).ask("UpdateRoutes", request)
            show(answer.routes.map(RouteRow.init).json())
        }
    }
}

/// A route as Kata writes it.
private struct RouteRow: Codable {
    let dest: String?
    let gateway: String?
    let device: String
    let source: String?
    let scope: UInt32?
    let family: Int?
    let mtu: UInt32?

    init(_ route: Types_Route) {
        (dest, gateway, device, source) = (route.dest, route.gateway, route.device, route.source)
        (scope, family, mtu) = (route.scope, route.family.rawValue, route.mtu)
    }

    var wire: Types_Route {
        var route = Types_Route()
        (route.dest, route.gateway, route.device) = (dest ?? "", gateway ?? "", device)
        (route.source, route.scope, route.mtu) = (source ?? "", scope ?? 0, mtu ?? 0)
        route.family = Types_IPFamily(rawValue: family ?? 0) ?? .v4
        return route
    }
}
