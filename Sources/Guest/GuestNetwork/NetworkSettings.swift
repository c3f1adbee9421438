import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC

/// What the host asks of the guest's links, done with the kernel. Calls block; one at a time.
package enum NetworkSettings {
    // MARK: Links

    /// Makes the link with the interface's hardware address what the interface says: name, addresses, MTU, and up.
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
        // Link-local addresses of IPv6 are the kernel's own affair (scope 253).
        for address in present where address.scope != 253 && !plan.addresses.contains(address.prefix) {
            try socket.delete(address)
        }
        try socket.change(link.index, settings)
        for prefix in plan.addresses { try socket.add(LinkAddress(link: link.index, prefix: prefix)) }
        return try describe(try socket.link(named: plan.name), socket.addresses())
    }

    /// The link may still be on its way: plugging in is the host's, probing the kernel's.
    private static func find(_ plan: InterfacePlan, _ socket: NetlinkSocket, _ deadline: ContinuousClock.Instant) throws
        -> Link
    {
        // Before the first look: nothing that comes in between is missed.
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

    /// A link keeps its name while it is up. One that has the wanted name already gives it away.
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

    /// Replaces the routes of all links but the kernel's own. Returns what is there then.
    package static func update(_ routes: [Types_Route]) throws -> Grpc_Routes {
        let socket = try NetlinkSocket()
        let links = try socket.links()
        var plans: [RoutePlan] = []
        for (index, route) in routes.enumerated() { plans.append(try RoutePlan(route, index: index, links: links)) }
        let loopback = Set(links.filter(\.isLoopback).map(\.index))
        let present = try socket.routes().filter(\.isOrdinary)
        for route in present where route.protocol != 2 && !loopback.contains(route.link) {
            // A route may go with another one that was deleted just before.
            do { try socket.delete(route) } catch { if error.code != ESRCH { throw error } }
        }
        // Those that the kernel made of addresses stay its own: replaced, they would go with the next update.
        let kernels = Set(present.filter { $0.protocol == 2 && $0.gateway == nil }.map { KernelRoute($0) })
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
                    state: wire.state == 0 ? 0x80 : UInt16(clamping: wire.state), flags: UInt8(clamping: wire.flags)))
        }
    }
}
