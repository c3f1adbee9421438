import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC

/// Applies the host's network settings to the guest's kernel. Calls block.
package enum NetworkSettings {
    // MARK: Links

    /// Gives the interface's link its name, addresses and MTU, and sets it up.
    /// - Parameter timeout: how long to wait for the link to appear.
    /// - Returns: the interface as it is then.
    /// - Throws: `RPCError` with `invalidArgument` or `notFound`; `SystemError` of the kernel.
    package static func update(_ interface: Types_Interface, timeout: Duration) throws
        -> Types_Interface
    {
        let plan = try InterfacePlan(interface)
        let socket = try NetlinkSocket()
        let link = try GuestLink.find(plan, socket, .now + timeout)
        try GuestLink.rename(link, to: plan.name, socket)
        let present = try socket.addresses().filter { $0.link == link.index }
        // The kernel manages IPv6 link-local addresses.
        for address in present where address.scope != RouteScope.link && !plan.addresses.contains(address.prefix) {
            try socket.delete(address)
        }
        try GuestLink.set(link, plan, socket)
        for prefix in plan.addresses { try socket.add(LinkAddress(link: link.index, prefix: prefix)) }
        return try describe(try socket.link(named: plan.name), socket.addresses())
    }

    /// All links with their addresses.
    /// - Throws: `SystemError` of the kernel when links or addresses can't be listed.
    package static func interfaces() throws -> Grpc_Interfaces {
        let socket = try NetlinkSocket()
        let addresses = try socket.addresses()
        var all = Grpc_Interfaces()
        all.interfaces = try socket.links().map { try describe($0, addresses) }
        return all
    }

    private static func describe(_ link: Link, _ addresses: [LinkAddress]) throws -> Types_Interface {
        var interface = Types_Interface()
        interface.device = link.name
        interface.name = link.name
        interface.mtu = UInt64(link.mtu)
        interface.hwAddr = link.hardwareAddress.description
        interface.type = link.kind
        interface.ipaddresses = addresses.filter { $0.link == link.index }.map { Types_IPAddress($0.prefix) }
        return interface
    }

    // MARK: Routes

    /// Replaces all routes but loopback's and the kernel's own.
    /// - Returns: the routes as they are then.
    /// - Throws: `RPCError` with `invalidArgument`; `SystemError` of the kernel.
    package static func update(_ routes: [Types_Route]) throws -> Grpc_Routes {
        let socket = try NetlinkSocket()
        let links = try socket.links()
        var plans: [RoutePlan] = []
        for (index, route) in routes.enumerated() { plans.append(try RoutePlan(route, index: index, links: links)) }
        let loopback = Set(links.filter(\.isLoopback).map(\.index))
        let present = try socket.routes().filter(\.isOrdinary)
        for route in present where route.protocol != RouteProtocol.kernel && !loopback.contains(route.link) {
            // ESRCH: the route went with another one that was just deleted.
            do { try socket.delete(route) } catch { if error.code != ESRCH { throw error } }
        }
        // Keeps the routes that the kernel made for addresses: a replacement would be deleted by the next update.
        let kernels = Set(
            present.filter { $0.protocol == RouteProtocol.kernel && $0.gateway == nil }.map { KernelRoute($0) })
        for plan in RoutePlan.ordered(plans)
        where plan.route.gateway != nil || !kernels.contains(KernelRoute(plan.route)) {
            try socket.add(plan.route)
        }
        return try self.routes(socket)
    }

    private struct KernelRoute: Hashable {
        let link: Int32
        let destination: Prefix?

        init(_ route: Route) { (link, destination) = (route.link, route.destination) }
    }

    /// All routes but loopback's.
    /// - Throws: `SystemError` of the kernel when links or routes can't be listed.
    package static func routes() throws -> Grpc_Routes { try routes(NetlinkSocket()) }

    private static func routes(_ socket: NetlinkSocket) throws -> Grpc_Routes {
        let names = try socket.links().names
        var all = Grpc_Routes()
        for route in try socket.routes() where route.isOrdinary {
            var wire = Types_Route(route, device: names[route.link] ?? "")
            wire.priority = route.priority
            guard wire.device != "lo" else { continue }
            all.routes.append(wire)
        }
        return all
    }

    // MARK: Neighbours

    /// Adds entries to the neighbour tables.
    /// - Throws: `RPCError` with `invalidArgument`; `SystemError` of the kernel.
    package static func add(_ neighbors: [Types_ARPNeighbor]) throws {
        let socket = try NetlinkSocket()
        let links = try socket.links()
        for (index, wire) in neighbors.enumerated() {
            try socket.add(Neighbor(wire, field: "neighbors[\(index)]", links: links))
        }
    }
}
