import AgentAPI
import Netlink
import TTRPC

/// A route from the host's message, decoded and checked.
struct RoutePlan: Equatable {
    let route: Route

    /// - Parameters:
    ///   - index: of the route in its message, for errors.
    ///   - links: the guest's.
    /// - Throws: `invalidArgument` with the field that is wrong.
    init(_ wire: Types_Route, index: Int, links: [Link]) throws(RPCError) {
        let field = "routes[\(index)]"
        guard wire.nextHops.isEmpty, wire.type == 0 || wire.type == UInt32(RouteType.unicast) else {
            route = try Route(wire, field: field, links: links)
            return
        }
        let link = try links.named(wire.device, field: field)
        let destination = try Self.destination(wire.dest, field: field)
        let gateway = try InternetAddress.optional(wire.gateway, field: "\(field).gateway")
        let source = try InternetAddress.optional(wire.source, field: "\(field).source")
        let isIPv6 = destination?.address.isIPv6 ?? gateway?.isIPv6 ?? source?.isIPv6 ?? (wire.family == .v6)
        for (name, given) in [("gateway", gateway), ("source", source)]
        where given.map({ $0.isIPv6 != isIPv6 }) ?? false {
            throw RPCError(.invalidArgument, "\(field).\(name): another family of addresses than the destination's")
        }
        let isOnLink = wire.flags & RouteValue.gatewayOnLink != 0
        var route = Route(
            isIPv6: isIPv6, destination: destination,
            hops: [NextHop(link: link.index, gateway: gateway, isOnLink: isOnLink)])
        route.source = source
        route.scope =
            gateway == nil && wire.scope == 0 && !isIPv6 ? RouteScope.link : UInt8(clamping: wire.scope)
        route.mtu = wire.mtu
        route.priority = wire.priority
        self.route = route
    }

    fileprivate static func destination(_ text: String, field: String) throws(RPCError) -> Prefix? {
        guard !text.isEmpty, text != "default" else { return nil }
        guard let prefix = Prefix(text) else {
            throw RPCError(.invalidArgument, "\(field).dest: \"\(text)\" is no network such as 10.0.0.0/8")
        }
        // 0.0.0.0/0 and ::/0 mean every destination too.
        return prefix.length == 0 ? nil : prefix
    }

    /// Puts routes without a gateway first: a gateway must be reachable when its route is added.
    static func ordered(_ plans: [RoutePlan]) -> [RoutePlan] {
        plans.filter { $0.route.gateway == nil } + plans.filter { $0.route.gateway != nil }
    }
}

extension Route {
    /// Decodes a route that has all fields.
    /// - Throws: `invalidArgument` with the field that is wrong.
    init(_ wire: Types_Route, field: String, links: [Link]) throws(RPCError) {
        var hops: [NextHop] = []
        for (index, hop) in wire.nextHops.enumerated() {
            let field = "\(field).next_hops[\(index)]"
            let link = try links.named(hop.device, field: field)
            let gateway = try InternetAddress.optional(hop.gateway, field: "\(field).gateway")
            hops.append(
                NextHop(
                    link: link.index, gateway: gateway, isOnLink: hop.onLink, weight: UInt16(clamping: hop.weight)))
        }
        self.init(
            isIPv6: wire.family == .v6, destination: try RoutePlan.destination(wire.dest, field: field), hops: hops,
            type: UInt8(clamping: wire.type))
        sourcePrefix = try RoutePlan.destination(wire.sourcePrefix, field: "\(field).source_prefix")
        source = try InternetAddress.optional(wire.source, field: "\(field).source")
        (table, priority, metrics) = (wire.table, wire.priority, wire.metrics.attributes)
        (scope, `protocol`) = (UInt8(clamping: wire.scope), UInt8(clamping: wire.protocol))
        (typeOfService, preference) = (UInt8(clamping: wire.typeOfService), UInt8(clamping: wire.preference))
    }
}

extension Rule {
    init(_ wire: Types_Rule) {
        self.init(
            isIPv6: wire.family == .v6, destinationLength: UInt8(clamping: wire.destinationLength),
            sourceLength: UInt8(clamping: wire.sourceLength), typeOfService: UInt8(clamping: wire.typeOfService),
            action: UInt8(clamping: wire.action), isInverted: wire.inverted, attributes: wire.attributes.attributes)
    }
}

extension Neighbor {
    /// - Throws: `invalidArgument` with the field that is wrong.
    init(_ wire: Types_ARPNeighbor, field: String, links: [Link]) throws(RPCError) {
        let isProxy = wire.flags & Int32(NeighborValue.proxy) != 0
        // A proxy entry may be for every link (0).
        let link = isProxy && wire.device.isEmpty ? 0 : try links.named(wire.device, field: field).index
        guard let address = InternetAddress(wire.toIpaddress.address) else {
            throw RPCError(.invalidArgument, "\(field).toIPAddress: \"\(wire.toIpaddress.address)\" is no address")
        }
        if isProxy {
            self.init(proxyOn: link, address)
            return
        }
        guard let hardware = HardwareAddress(wire.lladdr) else {
            throw RPCError(.invalidArgument, "\(field).lladdr: \"\(wire.lladdr)\" is no hardware address")
        }
        self.init(
            link: link, address: address, hardwareAddress: hardware,
            state: wire.state == 0 ? NeighborValue.permanent : UInt16(clamping: wire.state),
            flags: UInt8(clamping: wire.flags))
    }
}

extension [Link] {
    /// - Parameter field: the message whose `device` is the name, for the error.
    /// - Throws: `invalidArgument` where the guest has no such link.
    fileprivate func named(_ name: String, field: String) throws(RPCError) -> Link {
        guard let link = first(where: { $0.name == name }) else {
            throw RPCError(.invalidArgument, "\(field).device: there is no link \"\(name)\" in the guest")
        }
        return link
    }
}
