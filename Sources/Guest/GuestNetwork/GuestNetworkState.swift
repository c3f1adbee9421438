import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import Synchronization
import TTRPC

/// Makes the guest's network equal to the host's network namespace, and remembers what it has set.
///
/// The order can't fail half-way: what needs another thing comes after it. A failure doesn't stop the rest.
package final class GuestNetworkState: Sendable {
    /// The content that was set last. A change holds the lock, so changes run one after the other.
    private let applied = Mutex(WantedNetwork())

    package init() {}

    /// Blocks.
    /// - Parameter timeout: how long to wait for links to appear.
    /// - Throws: `RPCError` with `invalidArgument`, when at most links were named and set up. With `failedPrecondition`
    ///   and the words of all failures, when everything else has been done.
    package func update(_ network: Types_Network, timeout: Duration) throws {
        var plans: [InterfacePlan] = []
        for (index, interface) in network.interfaces.enumerated() {
            plans.append(try InterfacePlan(interface, field: "interfaces[\(index)]"))
        }
        try applied.withLock { applied in
            var change = NetworkChange(try NetlinkSocket(), applied)
            let named = change.setUp(plans, .now + timeout, refusesIPv6: Self.refusesIPv6)
            let missing = Set(plans.map(\.name)).subtracting(named.map(\.plan.name))
            var wanted = try WantedNetwork(
                network, named: named, missing: missing, all: try change.socket.links(),
                refusesIPv6: Self.refusesIPv6)
            wanted.settings = change.settings
            // After a failure half-way the guest may have things of both.
            applied.add(wanted)
            try change.apply(wanted)
            applied = wanted
            guard change.failures.isEmpty else {
                throw RPCError(.failedPrecondition, change.failures.joined(separator: "; "))
            }
        }
    }

    /// Whether IPv6 is off on a link, by a sysctl or for the whole kernel. The containers' sysctls are the guest's.
    private static func refusesIPv6(_ name: String) -> Bool {
        let setting = try? Files.readText("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6")
        return setting?.first != "0"
    }
}

/// One change of the guest's network, with its failures.
private struct NetworkChange {
    let socket: NetlinkSocket
    let applied: WantedNetwork
    private(set) var failures: [String] = []
    /// Settings that the links have now, by their indices.
    private(set) var settings: [Int32: [String: String]] = [:]

    init(_ socket: NetlinkSocket, _ applied: WantedNetwork) { (self.socket, self.applied) = (socket, applied) }

    /// Names links and sets them up.
    /// - Returns: those that are there.
    mutating func setUp(
        _ plans: [InterfacePlan], _ deadline: ContinuousClock.Instant, refusesIPv6: (_ name: String) -> Bool
    ) -> [(plan: InterfacePlan, link: Link)] {
        var named: [(InterfacePlan, Link)] = []
        for plan in plans {
            do {
                let link = try GuestLink.find(plan, socket, deadline)
                if !plan.isLoopback {
                    try GuestLink.rename(link, to: plan.name, socket)
                    // Before addresses and IPv6: these may be off.
                    write(plan.settings, of: link.index, named: plan.name)
                    if !refusesIPv6(plan.name) { setIPv6(link, plan) }
                    try GuestLink.set(link, plan, socket)
                }
                named.append((plan, link))
            } catch let error as RPCError { failures.append("link \(plan.name): \(error.message)") } catch {
                failures.append("link \(plan.name): \(error)")
            }
        }
        return named
    }

    /// Writes the settings that have changed since the last time; those that are no longer stated become the default.
    private mutating func write(_ wanted: [String: String], of link: Int32, named name: String) {
        let before = applied.settings[link] ?? [:]
        for (setting, value) in wanted.sorted(by: { $0.key < $1.key }) where before[setting] != value {
            do throws(SystemError) { try GuestLink.write(setting, value, of: name) } catch {
                // The link works without it. It is tried once.
                writeError("kata-agent: link \(name): setting \(setting) is not \(value): \(error)")
            }
        }
        for (setting, value) in before where wanted[setting] == nil { GuestLink.reset(setting, from: value, of: name) }
        settings[link] = wanted
    }

    /// The kernel refuses a token where a sysctl turns routers' advertisements off: the link works without it.
    private mutating func setIPv6(_ link: Link, _ plan: InterfacePlan) {
        do { try GuestLink.setIPv6(link, plan, socket) } catch { failures.append("link \(plan.name): \(error)") }
    }

    mutating func apply(_ wanted: WantedNetwork) throws {
        let stale = NetworkDifference.staleRoutes(applied.routes, wanted.routes)
        note(try perform(stale.map { .delete($0) }))
        note(try perform(applied.neighbors.filter { !wanted.neighbors.contains($0) }.map { .delete($0) }))
        try apply(addresses: wanted.addresses)
        let neighbors = Set(try socket.neighbors())
        note(try perform(wanted.neighbors.filter { !neighbors.contains($0) }.map { .add($0) }))
        try apply(routes: wanted, afterRemovals: !stale.isEmpty)
        note(try perform(NetworkDifference.rules(try socket.rules(), applied.rules, wanted.rules)))
    }

    /// Changes routes until the kernel has what is wanted. Asked to remove a route, the kernel may remove another one
    /// with the same key and first next hop (fib_nh_match): after removals, looks again.
    private mutating func apply(routes wanted: WantedNetwork, afterRemovals: Bool) throws {
        let loopback = try socket.links().first(where: \.isLoopback)?.index ?? 0
        var results: [SystemError?] = []
        for _ in 0..<Self.maxRounds {
            let present = try socket.routes()
            let missing = NetworkDifference.missingRoutes(present, applied.routes, wanted.routes)
            let superfluous = NetworkDifference.superfluousRoutes(
                present, applied.routes, wanted.routes, addresses: applied.addresses + wanted.addresses,
                loopback: loopback)
            guard !missing.isEmpty || !superfluous.isEmpty else { break }
            results = try add(missing)
            // Afterwards: the kernel may have found gateways reachable by these.
            results += try perform(superfluous.map { .delete($0) })
            guard afterRemovals || !superfluous.isEmpty else { break }
        }
        note(results)
    }

    private static let maxRounds = 3

    private mutating func apply(addresses wanted: [LinkAddress]) throws {
        let stale = NetworkDifference.staleAddresses(try addresses(), applied.addresses, wanted)
        note(try perform(stale.map { .delete($0) }))
        // Read again: the kernel removes secondary addresses with their first one.
        note(try perform(NetworkDifference.missingAddresses(try addresses(), wanted).map { .add($0) }))
    }

    /// The kernel's addresses in the form of the host's: without a label that is the link's name.
    private func addresses() throws -> [LinkAddress] {
        let names = try socket.links().names
        return try socket.addresses().map { address in
            var address = address.withoutLabel(of: names[address.link])
            address.isKernels = false
            return address
        }
    }

    private func add(_ routes: [(route: Route, request: NetlinkSocket.Request)]) throws -> [SystemError?] {
        var results = try perform(routes.map(\.request))
        // The namespace's kernel keeps a route whose gateway it can't reach any more.
        let unreachable = results.indices.filter {
            Self.isUnreachable(results[$0]?.code) && routes[$0].route.hasGateway
        }
        let retried = try perform(unreachable.map { .add(routes[$0].route.withGatewaysOnLink) })
        for (index, result) in zip(unreachable, retried) { results[index] = result }
        return results
    }

    private static func isUnreachable(_ errno: Int32?) -> Bool { errno == ENETUNREACH || errno == EHOSTUNREACH }

    private func perform(_ requests: [NetlinkSocket.Request]) throws -> [SystemError?] {
        requests.isEmpty ? [] : try socket.perform(requests)
    }

    /// Objects that are there already, or gone with another one or with their link.
    private static let harmless: Set<Int32> = [EEXIST, ESRCH, ENODEV, ENOENT, EADDRNOTAVAIL]

    private mutating func note(_ results: [SystemError?]) {
        failures += results.compactMap { $0 }.filter { !Self.harmless.contains($0.code) }.map { "\($0)" }
    }
}
