import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC

/// Applies the host's network settings to the guest's kernel. Calls block.
package enum NetworkSettings {
    // MARK: Links

    /// Gives the link with the interface's hardware address its name, addresses and MTU, and sets it up.
    /// - Parameter timeout: how long to wait for the link to appear.
    /// - Returns: the interface as it is then.
    /// - Throws: `RPCError` with `invalidArgument` or `notFound`; `SystemError` of the kernel.
    package static func update(_ interface: Types_Interface, timeout: Duration) throws
        -> Types_Interface
    {
        let plan = try InterfacePlan(interface)
        let socket = try NetlinkSocket()
        let link = try find(plan, socket, .now + timeout)
        if link.name != plan.name { try rename(link, to: plan.name, socket) }
        var settings = NetlinkSocket.Change()
        settings.mtu = plan.mtu
        settings.flags = plan.flags
        settings.isUp = true
        let present = try socket.addresses().filter { $0.link == link.index }
        // The kernel manages IPv6 link-local addresses.
        for address in present where address.scope != RouteScope.link && !plan.addresses.contains(address.prefix) {
            try socket.delete(address)
        }
        try socket.change(link.index, settings)
        for prefix in plan.addresses { try socket.add(LinkAddress(link: link.index, prefix: prefix)) }
        return try describe(try socket.link(named: plan.name), socket.addresses())
    }

    /// Finds the link, or waits for it: after the host has plugged it in, the kernel still has to probe it.
    private static func find(_ plan: InterfacePlan, _ socket: NetlinkSocket, _ deadline: ContinuousClock.Instant) throws
        -> Link
    {
        // Monitor before the first look, to miss no link that appears in between.
        let monitor = try NetworkMonitor(.links)
        while true {
            if let link = try socket.links().first(where: {
                $0.hardwareAddress == plan.hardwareAddress && !$0.isLoopback
            }) {
                return link
            }
            guard try monitor.wait(until: deadline) else {
                throw RPCError(
                    .notFound,
                    "interface.hwAddr: no link with address \(plan.hardwareAddress) has appeared in the guest")
            }
        }
    }

    /// Renames a link, which must be down for that. Another link that has the name gets a temporary one.
    private static func rename(_ link: Link, to name: String, _ socket: NetlinkSocket) throws {
        var down = NetlinkSocket.Change()
        down.isUp = false
        var named = NetlinkSocket.Change()
        if let other = try socket.links().first(where: { $0.name == name }) {
            try socket.change(other.index, down)
            named.name = "kata\(other.index)tmp"
            try socket.change(other.index, named)
            if other.isUp {
                var up = NetlinkSocket.Change()
                up.isUp = true
                try socket.change(other.index, up)
            }
        }
        try socket.change(link.index, down)
        named.name = name
        try socket.change(link.index, named)
    }

    /// All links with their addresses.
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
    package static func routes() throws -> Grpc_Routes { try routes(NetlinkSocket()) }

    private static func routes(_ socket: NetlinkSocket) throws -> Grpc_Routes {
        let names = Dictionary(try socket.links().map { ($0.index, $0.name) }) { first, _ in first }
        var all = Grpc_Routes()
        for route in try socket.routes() where route.isOrdinary {
            let wire = Types_Route(route, device: names[route.link] ?? "")
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
            let field = "neighbors[\(index)]"
            guard let link = links.first(where: { $0.name == wire.device }) else {
                throw RPCError(.invalidArgument, "\(field).device: there is no link \"\(wire.device)\" in the guest")
            }
            guard let address = InternetAddress(wire.toIpaddress.address) else {
                throw RPCError(.invalidArgument, "\(field).toIPAddress: \"\(wire.toIpaddress.address)\" is no address")
            }
            guard let hardware = HardwareAddress(wire.lladdr) else {
                throw RPCError(.invalidArgument, "\(field).lladdr: \"\(wire.lladdr)\" is no hardware address")
            }
            try socket.add(
                Neighbor(
                    link: link.index, address: address, hardwareAddress: hardware,
                    state: wire.state == 0 ? NeighborValue.permanent : UInt16(clamping: wire.state),
                    flags: UInt8(clamping: wire.flags)))
        }
    }
}
