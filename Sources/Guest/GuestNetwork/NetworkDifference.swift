import Netlink

/// Requests that bring the guest's kernel from one state to another. Pure functions.
///
/// Only what the host has set before is removed: programs of the guest may have addresses, routes and rules of their
/// own. The routes that the guest's kernel makes for addresses are the exception.
enum NetworkDifference {
    typealias Request = NetlinkSocket.Request

    /// Addresses to remove. When the order of IPv4 ones differs, all of the link's go: the first one of a subnet is the
    /// kernel's choice for packets.
    static func staleAddresses(_ present: [LinkAddress], _ applied: [LinkAddress], _ wanted: [LinkAddress])
        -> [LinkAddress]
    {
        let (known, kept) = (Set(applied), Set(wanted))
        let misplaced = Set(wanted.map(\.link)).filter { link in
            let order = present.filter { $0.link == link && !$0.isIPv6 && kept.contains($0) }
            return order != wanted.filter { $0.link == link && order.contains($0) }
        }
        return present.filter { address in
            kept.contains(address) ? !address.isIPv6 && misplaced.contains(address.link) : known.contains(address)
        }
    }

    /// Addresses to add. The kernel lists IPv6 addresses with the newest first.
    static func missingAddresses(_ present: [LinkAddress], _ wanted: [LinkAddress]) -> [LinkAddress] {
        let there = Set(present)
        let missing = wanted.filter { !there.contains($0) }
        return missing.filter { !$0.isIPv6 } + missing.filter(\.isIPv6).reversed()
    }

    /// Routes to remove before others are added, those with gateways first. A route that another one replaces stays
    /// until then.
    static func staleRoutes(_ applied: [Route], _ wanted: [Route]) -> [Route] {
        guard !applied.isEmpty else { return [] }
        let (kept, replaced) = (Set(wanted), Set(replacements(applied, wanted).keys))
        let stale = applied.filter { !kept.contains($0) && !replaced.contains($0) }
        return stale.filter(\.hasGateway) + stale.filter { !$0.hasGateway }
    }

    /// Requests for the routes that are missing: those to links first, as gateways must be reachable.
    static func missingRoutes(_ present: [Route], _ applied: [Route], _ wanted: [Route]) -> [(Route, Request)] {
        let (there, replacing) = (Set(present.map(\.comparable)), Set(replacements(applied, wanted).values))
        let missing = wanted.filter { !there.contains($0.comparable) }
        return (missing.filter { !$0.hasGateway } + missing.filter(\.hasGateway)).map {
            ($0, replacing.contains($0) ? .replace($0) : .add($0))
        }
    }

    /// The wanted routes that can take the place of others in one step. Others with the same key, or of another shape,
    /// would confuse the kernel.
    private static func replacements(_ applied: [Route], _ wanted: [Route]) -> [Route: Route] {
        guard !applied.isEmpty else { return [:] }
        let kept = Set(wanted)
        let stale = applied.filter { !kept.contains($0) }
        guard !stale.isEmpty else { return [:] }
        let rivals = Dictionary(grouping: applied, by: \.key)
        let successors = Dictionary(grouping: wanted, by: \.key)
        var found: [Route: Route] = [:]
        for stale in stale {
            guard let next = successors[stale.key], next.count == 1, rivals[stale.key]?.count == 1,
                next[0].type == stale.type, next[0].hasGateway == stale.hasGateway
            else { continue }
            found[stale] = next[0]
        }
        return found
    }

    /// Routes to remove after others were added: those that were set before. Also those that the kernel has made for
    /// the host's addresses and that the namespace doesn't have.
    /// - Parameter addresses: the host's, also those that were set before.
    static func superfluousRoutes(
        _ present: [Route], _ applied: [Route], _ wanted: [Route], addresses: [LinkAddress], loopback: Int32
    ) -> [Route] {
        let known = Set(applied.map(\.comparable))
        let networks = Set(addresses.map { Network(link: $0.link, prefix: $0.network) })
        let candidates = present.filter { route in
            route.protocol == RouteProtocol.kernel && !route.isMadeByKernel(loopback: loopback)
                && route.hops.contains { hop in
                    route.destination.map { networks.contains(Network(link: hop.link, prefix: $0)) } ?? false
                } || known.contains(route.comparable)
        }
        guard !candidates.isEmpty else { return [] }
        let kept = Set(wanted.map(\.comparable))
        return candidates.filter { !kept.contains($0.comparable) }
    }

    /// A network on a link, for which the kernel makes a route.
    private struct Network: Hashable {
        let link: Int32
        let prefix: Prefix
    }

    /// Requests for rules: new ones first, then the old ones go.
    static func rules(_ present: [Rule], _ applied: [Rule], _ wanted: [Rule]) -> [Request] {
        let (there, kept) = (Set(Rule.inForce(present)), Set(wanted))
        let stale = applied.filter { !kept.contains($0) && there.contains($0) }
        return wanted.filter { !there.contains($0) }.map(Request.add) + stale.map(Request.delete)
    }
}

extension LinkAddress {
    fileprivate var isIPv6: Bool { prefix.address.isIPv6 }
    /// The network for which the kernel makes a route: the address's, or its peer's.
    fileprivate var network: Prefix { (peer.flatMap { Prefix($0, length: Int(prefix.length)) } ?? prefix).network }
}

extension Route {
    /// The route without the flag by which a gateway is taken for reachable.
    fileprivate var comparable: Route {
        var route = self
        for index in route.hops.indices { route.hops[index].isOnLink = false }
        return route
    }

    /// The route with gateways that are taken for reachable: their own routes may have been removed since.
    var withGatewaysOnLink: Route {
        var route = self
        for index in route.hops.indices where route.hops[index].gateway != nil { route.hops[index].isOnLink = true }
        return route
    }
}
