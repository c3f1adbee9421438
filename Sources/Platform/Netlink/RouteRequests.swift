import Glibc
import LinuxKernel

/// Addresses, routes, rules and neighbours.
extension NetlinkSocket {
    /// The addresses of all links.
    /// - Throws: `SystemError` with the kernel's errno.
    package func addresses() throws(SystemError) -> [LinkAddress] {
        try dump(MessageType.getAddress, header: LinkAddress.headerSize, "addresses", of: MessageType.newAddress)
            .compactMap { LinkAddress($0.payload) }
    }

    /// The routes of all tables. Those that name next hop objects have the objects' next hops.
    /// - Throws: `SystemError` with the kernel's errno.
    package func routes() throws(SystemError) -> [Route] {
        let routes = try dump(MessageType.getRoute, header: Route.headerSize, "routes", of: MessageType.newRoute)
            .compactMap { Route($0.payload) }
        // The kernel resolves them itself unless net.ipv4.nexthop_compat_mode is 0.
        guard routes.contains(where: { $0.nextHopObject != 0 }) else { return routes }
        let objects = try dump(
            MessageType.getNextHop, header: NextHopObject.headerSize, "next hops", of: MessageType.newNextHop
        ).compactMap { NextHopObject($0.payload) }
        let numbered = Dictionary(objects.map { ($0.number, $0) }) { first, _ in first }
        return routes.map { $0.resolved(among: numbered) }
    }

    /// The rules of IPv4 and IPv6. A kernel without rules has none.
    /// - Throws: `SystemError` with the kernel's errno, except EOPNOTSUPP and EAFNOSUPPORT.
    package func rules() throws(SystemError) -> [Rule] {
        do {
            return try dump(MessageType.getRule, header: Rule.headerSize, "rules", of: MessageType.newRule)
                .compactMap { Rule($0.payload) }
        } catch {
            guard error.code == EOPNOTSUPP || error.code == EAFNOSUPPORT else { throw error }
            return []
        }
    }

    /// The entries of the neighbour tables, learned ones too, and the proxy entries.
    /// - Throws: `SystemError` with the kernel's errno.
    package func neighbors() throws(SystemError) -> [Neighbor] {
        let entries = try dump(
            MessageType.getNeighbor, header: Neighbor.headerSize, "neighbours", of: MessageType.newNeighbor)
        let proxies = try dump(
            MessageType.getNeighbor, header: Neighbor.proxies, "proxied addresses", of: MessageType.newNeighbor)
        return (entries + proxies).compactMap { Neighbor($0.payload) }
    }

    /// Adds an address, or replaces one that the link has.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link.
    package func add(_ address: LinkAddress) throws(SystemError) { try perform(.add(address)) }
    /// Deletes an address.
    /// - Throws: `SystemError` with the kernel's errno; EADDRNOTAVAIL for an address that the link doesn't have.
    package func delete(_ address: LinkAddress) throws(SystemError) { try perform(.delete(address)) }
    /// Adds a route, or replaces one with the same key.
    /// - Throws: `SystemError` with the kernel's errno; ENETUNREACH for a gateway that no route reaches.
    package func add(_ route: Route) throws(SystemError) { try perform(.replace(route)) }
    /// Deletes a route.
    /// - Throws: `SystemError` with the kernel's errno; ESRCH for a route that is not there.
    package func delete(_ route: Route) throws(SystemError) { try perform(.delete(route)) }
    /// Adds a rule.
    /// - Throws: `SystemError` with the kernel's errno; EEXIST for a rule that is there.
    package func add(_ rule: Rule) throws(SystemError) { try perform(.add(rule)) }
    /// Adds an entry, or replaces one with the same address.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link.
    package func add(_ neighbor: Neighbor) throws(SystemError) { try perform(.add(neighbor)) }
}

extension NetlinkSocket.Request {
    package static func add(_ address: LinkAddress) -> Self {
        Self(
            MessageType.newAddress, flags: MessageFlags.createOrReplace, address.payload, "add address",
            "\(address.prefix)")
    }

    package static func delete(_ address: LinkAddress) -> Self {
        Self(MessageType.deleteAddress, flags: 0, address.payload, "delete address", "\(address.prefix)")
    }

    /// Adds a route beside others with the same key.
    package static func add(_ route: Route) -> Self { add(route, MessageFlags.createBeside) }

    /// Adds a route, or replaces one with the same key.
    package static func replace(_ route: Route) -> Self { add(route, MessageFlags.createOrReplace) }

    private static func add(_ route: Route, _ flags: UInt16) -> Self {
        Self(MessageType.newRoute, flags: flags, route.payload, "add route to", "\(route)")
    }

    package static func delete(_ route: Route) -> Self {
        Self(MessageType.deleteRoute, flags: 0, route.payload, "delete route to", "\(route)")
    }

    /// Adds a rule. The kernel refuses (EEXIST) one that it has.
    package static func add(_ rule: Rule) -> Self {
        Self(MessageType.newRule, flags: MessageFlags.createNew, rule.payload, "add rule", "\(rule)")
    }

    package static func delete(_ rule: Rule) -> Self {
        Self(MessageType.deleteRule, flags: 0, rule.payload, "delete rule", "\(rule)")
    }

    package static func add(_ neighbor: Neighbor) -> Self {
        Self(
            MessageType.newNeighbor, flags: MessageFlags.createOrReplace, neighbor.payload, "add neighbour",
            "\(neighbor.address)")
    }

    package static func delete(_ neighbor: Neighbor) -> Self {
        Self(MessageType.deleteNeighbor, flags: 0, neighbor.payload, "delete neighbour", "\(neighbor.address)")
    }
}
