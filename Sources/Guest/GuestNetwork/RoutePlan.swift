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
        guard let link = links.first(where: { $0.name == wire.device }) else {
            throw RPCError(.invalidArgument, "\(field).device: there is no link \"\(wire.device)\" in the guest")
        }
        var destination: Prefix?
        if !wire.dest.isEmpty, wire.dest != "default" {
            guard let prefix = Prefix(wire.dest) else {
                throw RPCError(.invalidArgument, "\(field).dest: \"\(wire.dest)\" is no network such as 10.0.0.0/8")
            }
            // 0.0.0.0/0 and ::/0 mean every destination too.
            destination = prefix.length == 0 ? nil : prefix
        }
        func address(_ name: String, _ text: String) throws(RPCError) -> InternetAddress? {
            guard !text.isEmpty else { return nil }
            guard let address = InternetAddress(text) else {
                throw RPCError(.invalidArgument, "\(field).\(name): \"\(text)\" is no address")
            }
            return address
        }
        let gateway = try address("gateway", wire.gateway)
        let source = try address("source", wire.source)
        let isIPv6 = destination?.address.isIPv6 ?? gateway?.isIPv6 ?? source?.isIPv6 ?? (wire.family == .v6)
        for (name, given) in [("gateway", gateway), ("source", source)]
        where given.map({ $0.isIPv6 != isIPv6 }) ?? false {
            throw RPCError(.invalidArgument, "\(field).\(name): another family of addresses than the destination's")
        }
        var route = Route(isIPv6: isIPv6, destination: destination, gateway: gateway, link: link.index)
        route.source = source
        route.scope =
            gateway == nil && wire.scope == 0 && !isIPv6 ? RouteScope.link : UInt8(clamping: wire.scope)
        route.flags = wire.flags & RouteValue.gatewayOnLink
        route.mtu = wire.mtu
        self.route = route
    }

    /// Puts routes without a gateway first: a gateway must be reachable when its route is added.
    static func ordered(_ plans: [RoutePlan]) -> [RoutePlan] {
        plans.filter { $0.route.gateway == nil } + plans.filter { $0.route.gateway != nil }
    }
}
