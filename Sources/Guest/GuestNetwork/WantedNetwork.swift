import AgentAPI
import LinuxKernel
import Netlink
import TTRPC

/// The content that the guest's kernel is to have. Links are named by the guest's indices.
struct WantedNetwork: Equatable {
    /// Addresses of one subnet in the order in which they were set: the first is the kernel's choice for packets.
    var addresses: [LinkAddress] = []
    var routes: [Route] = []
    var neighbors: [Neighbor] = []
    /// In the order of their priorities.
    var rules: [Rule] = Rule.defaults
    /// Settings that were written, by the links' indices.
    var settings: [Int32: [String: String]] = [:]

    init() {}

    /// Adds what another network has and this one lacks.
    mutating func add(_ other: WantedNetwork) {
        func join<Thing: Hashable>(_ own: inout [Thing], _ others: [Thing]) {
            let known = Set(own)
            own += others.filter { !known.contains($0) }
        }
        join(&addresses, other.addresses)
        join(&routes, other.routes)
        join(&neighbors, other.neighbors)
        join(&rules, other.rules)
        settings.merge(other.settings) { _, later in later }
    }

    /// - Parameters:
    ///   - named: the interfaces whose links are there, by the links' present names. Anything that needs another link
    ///     of the host's is left out: its absence is an error of its own.
    ///   - missing: the names of those other links.
    ///   - refuses: whether the guest takes no IPv6 on the link with a name.
    /// - Throws: `invalidArgument` with the field that is wrong.
    init(
        _ network: Types_Network, named: [(plan: InterfacePlan, link: Link)], missing: Set<String>, all: [Link],
        refusesIPv6 refuses: (_ name: String) -> Bool
    ) throws(RPCError) {
        let names = all.names
        var answers: [String: Bool] = [:]
        func refusesIPv6(_ name: String) -> Bool {
            if let known = answers[name] { return known }
            let answer = refuses(name)
            answers[name] = answer
            return answer
        }
        func isTaken(_ isIPv6: Bool, _ links: [Int32]) -> Bool {
            guard isIPv6 else { return true }
            let affected = links.isEmpty ? [InterfacePlan.loopback] : links.compactMap { names[$0] }
            return !affected.contains(where: refusesIPv6)
        }
        for (plan, link) in named {
            for var address in plan.details where isTaken(address.prefix.address.isIPv6, [link.index]) {
                address.link = link.index
                addresses.append(address)
            }
        }
        routes = []
        for (index, wire) in network.routes.enumerated()
        where !wire.nextHops.contains(where: { missing.contains($0.device) }) {
            let route = try Route(wire, field: "routes[\(index)]", links: all)
            if isTaken(route.isIPv6, route.hops.map(\.link)) { routes.append(route) }
        }
        for (index, wire) in network.neighbors.enumerated() where !missing.contains(wire.device) {
            let neighbor = try Neighbor(wire, field: "neighbors[\(index)]", links: all)
            if isTaken(neighbor.address.isIPv6, [neighbor.link]) { neighbors.append(neighbor) }
        }
        rules = network.rules.map(Rule.init).sorted { $0.priority < $1.priority }
    }
}
