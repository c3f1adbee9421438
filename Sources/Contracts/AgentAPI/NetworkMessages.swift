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
    package init(_ address: InternetAddress) { self = address.isIPv6 ? .v6 : .v4 }
}

extension Types_Route {
    /// - Parameter device: the name of the route's link.
    package init(_ route: Route, device: String) {
        self.init()
        dest = route.destination?.description ?? ""
        gateway = route.gateway?.description ?? ""
        source = route.source?.description ?? ""
        self.device = device
        scope = UInt32(route.scope)
        family = route.isIPv6 ? .v6 : .v4
        flags = route.flags
        mtu = route.mtu
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
