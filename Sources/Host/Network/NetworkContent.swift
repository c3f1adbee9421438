import Netlink

/// The addresses of the loopback link, the routes and the neighbours of a namespace that the guest gets.
struct NetworkContent {
    let loopback: [LinkAddress]
    let loopbackLink: Int32
    let routes: [Route]
    let neighbors: [Neighbor]
    /// Things that the guest doesn't get, each in one line.
    let omissions: [String]

    /// - Parameters:
    ///   - given: the links that the guest gets.
    ///   - refused: links in use that it doesn't get.
    init(_ view: NetworkView, given: Set<Int32>, refused: Set<Int32>) {
        let loopback = view.links.first(where: \.isLoopback)
        self.loopback = loopback.map { NetworkPlan.addresses(of: $0, view) } ?? []
        let own = loopback?.index ?? 0
        loopbackLink = own
        let reachable = given.union([own])
        let wanted = view.routes.filter { !$0.isMadeByKernel(loopback: own) }
        routes = wanted.compactMap { Self.route($0, reachable, refused) }
        // A proxy entry may be for every link (0).
        neighbors = view.neighbors.filter { given.contains($0.link) || $0.isProxy && $0.link == 0 }
        omissions = wanted.filter(\.isEncapsulated).map {
            "route to \($0): its packets get another header on the way, which a guest can't be given"
        }
    }

    /// The guest's form of a route; nil for one of links that are not in use.
    ///
    /// Destinations behind a link that the guest doesn't have become unreachable. Otherwise their packets would take
    /// another route.
    private static func route(_ route: Route, _ reachable: Set<Int32>, _ refused: Set<Int32>) -> Route? {
        var route = route
        if route.hops.isEmpty { return route }
        let isRefused = route.isEncapsulated || route.hops.contains { refused.contains($0.link) }
        route.hops = route.isEncapsulated ? [] : route.hops.filter { reachable.contains($0.link) }
        // The share of traffic means nothing for the only next hop.
        if route.hops.count == 1 { route.hops[0].weight = 1 }
        guard route.hops.isEmpty else { return route }
        return isRefused ? route.unreachable : nil
    }
}

extension Route {
    /// A route with the same key that answers all packets with an error.
    fileprivate var unreachable: Route {
        var route = Route(isIPv6: isIPv6, destination: destination, hops: [], type: RouteType.unreachable)
        (route.table, route.priority) = (table, priority)
        (route.sourcePrefix, route.typeOfService) = (sourcePrefix, typeOfService)
        return route
    }
}
