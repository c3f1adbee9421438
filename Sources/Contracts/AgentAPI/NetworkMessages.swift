import FoundationEssentials
import Netlink

/// Converts the kernel's network objects to messages between host and agent (types.proto).
extension Types_IPAddress {
    package init(_ prefix: Prefix) {
        self.init()
        family = Types_IPFamily(prefix.address)
        address = prefix.address.description
        mask = "\(prefix.length)"
    }

    package init(_ address: InternetAddress) {
        self.init()
        family = Types_IPFamily(address)
        self.address = address.description
    }
}

extension Types_IPFamily {
    package init(_ address: InternetAddress) { self.init(isIPv6: address.isIPv6) }
    package init(isIPv6: Bool) { self = isIPv6 ? .v6 : .v4 }
}

extension Types_Address {
    package init(_ address: LinkAddress) {
        self.init()
        self.address = address.prefix.description
        peer = address.peer?.description ?? ""
        broadcast = address.broadcast?.description ?? ""
        label = address.label ?? ""
        (scope, flags, priority) = (UInt32(address.scope), address.flags, address.priority)
    }
}

extension Types_Route {
    /// Fills Kata's own fields for a route with one next hop.
    /// - Parameter device: the name of the route's link.
    package init(_ route: Route, device: String) {
        self.init()
        dest = route.destination?.description ?? ""
        gateway = route.gateway?.description ?? ""
        source = route.source?.description ?? ""
        self.device = device
        scope = UInt32(route.scope)
        family = Types_IPFamily(isIPv6: route.isIPv6)
        flags = route.hops.first?.isOnLink == true ? RouteValue.gatewayOnLink : 0
        mtu = route.mtu
    }

    /// Fills every field that the route needs.
    /// - Parameter names: the names of links by index.
    package init(_ route: Route, names: [Int32: String]) {
        self.init(route, device: names[route.link] ?? "")
        (table, priority, `protocol`) = (route.table, route.priority, UInt32(route.protocol))
        (type, typeOfService) = (UInt32(route.type), UInt32(route.typeOfService))
        nextHops = route.hops.map { Types_NextHop($0, names: names) }
        metrics = .init(bytes: route.metrics)
        preference = UInt32(route.preference)
        sourcePrefix = route.sourcePrefix?.description ?? ""
    }
}

extension Types_NextHop {
    package init(_ hop: NextHop, names: [Int32: String]) {
        self.init()
        device = names[hop.link] ?? ""
        gateway = hop.gateway?.description ?? ""
        (onLink, weight) = (hop.isOnLink, UInt32(hop.weight))
    }
}

extension Types_Rule {
    package init(_ rule: Rule) {
        self.init()
        family = Types_IPFamily(isIPv6: rule.isIPv6)
        (destinationLength, sourceLength) = (UInt32(rule.destinationLength), UInt32(rule.sourceLength))
        (typeOfService, action, inverted) = (UInt32(rule.typeOfService), UInt32(rule.action), rule.isInverted)
        attributes = .init(bytes: rule.attributes)
    }
}

extension Types_ARPNeighbor {
    /// - Parameter device: the name of the neighbour's link.
    package init(_ neighbor: Neighbor, device: String) {
        self.init()
        toIpaddress = Types_IPAddress(neighbor.address)
        self.device = device
        lladdr = neighbor.hardwareAddress.description
        state = Int32(neighbor.state)
        flags = Int32(neighbor.flags)
    }
}

extension Dictionary where Key == UInt32, Value == Data {
    /// The kernel's attributes, by their types.
    fileprivate init(bytes: [UInt16: [UInt8]]) {
        self.init(uniqueKeysWithValues: bytes.map { (UInt32($0.key), Data($0.value)) })
    }

    /// The kernel's attributes, by their types.
    package var attributes: [UInt16: [UInt8]] {
        [UInt16: [UInt8]](map { (UInt16(clamping: $0.key), Array($0.value)) }) { first, _ in first }
    }
}
