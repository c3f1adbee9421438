import AgentAPI
import LinuxKernel
import Netlink
import TTRPC

/// Sends the state of a network namespace to the guest's agent.
struct GuestNetworkClient: Sendable {
    let agent: AgentServiceClient
    /// Whether the agent takes everything in one message (`AgentFeature.wholeNetwork`), or Kata's own messages.
    let takesAll: Bool

    /// - Parameters:
    ///   - places: the cards' PCI paths, by the indices of their links.
    ///   - before: the state that the guest has.
    func send(_ wanted: NetworkPlan, places: [Int32: String], before: NetworkPlan) async throws {
        if takesAll {
            try await sendAll(wanted, places)
        } else {
            try await sendParts(wanted, before)
        }
    }

    private func sendAll(_ wanted: NetworkPlan, _ places: [Int32: String]) async throws {
        var request = Grpc_UpdateNetworkRequest()
        request.network = Types_Network(wanted, places: places)
        do { _ = try await agent.updateNetwork(request, timeout: Deadline.network.limit) } catch let error as RPCError {
            // The agent did the rest: these are the words of what it could not do.
            guard error.code == .failedPrecondition else { throw error }
            throw NetworkError("in the guest: \(error.message)")
        }
    }

    /// Sends Kata's own messages, without what they can't carry.
    private func sendParts(_ wanted: NetworkPlan, _ before: NetworkPlan) async throws {
        // That agent tells links apart by hardware address, and one without an IP address is of no use to it.
        for endpoint in wanted.endpoints where !endpoint.addresses.isEmpty && !before.endpoints.contains(endpoint) {
            var request = Grpc_UpdateInterfaceRequest()
            request.interface = Types_Interface(endpoint)
            _ = try await agent.updateInterface(request, timeout: Deadline.network.limit)
        }
        let names = Dictionary(wanted.endpoints.map { ($0.link, $0.name) }) { first, _ in first }
        if wanted.routes != before.routes || wanted.endpoints != before.endpoints, !wanted.endpoints.isEmpty {
            var request = Grpc_UpdateRoutesRequest()
            // The guest's kernel makes the routes of addresses.
            request.routes.routes = wanted.routes.filter {
                $0.isOrdinary && $0.protocol != RouteProtocol.kernel && names[$0.link] != nil
            }.map { Types_Route($0, device: names[$0.link] ?? "") }
            _ = try await agent.updateRoutes(request, timeout: Deadline.network.limit)
        }
        let news = wanted.neighbors.filter { !$0.isProxy && !before.neighbors.contains($0) }
        if !news.isEmpty {
            var request = Grpc_AddARPNeighborsRequest()
            request.neighbors.arpneighbors = news.map { Types_ARPNeighbor($0, device: names[$0.link] ?? "") }
            _ = try await agent.addARPNeighbors(request, timeout: Deadline.network.limit)
        }
    }
}

extension NetworkPlan {
    /// The parts that Kata's own messages can't carry, one line for each.
    ///
    /// Without the things in `refused`, traffic would go wrong without a word. The others are named in the log.
    var beyondKata: (refused: [String], named: [String]) {
        let routes = routes.filter { $0.protocol != RouteProtocol.kernel && !$0.isCarriedByKata }.map {
            "route to \($0)"
        }
        let present = Set(rules)
        let ownRules = present.subtracting(Rule.defaults).map { "rule \($0)" }.sorted()
        let missing = Rule.defaults.filter { !present.contains($0) }.map { "the absence of rule \($0)" }
        let addresses = endpoints.flatMap { endpoint in
            endpoint.addresses.filter { !$0.isCarriedByKata }.map {
                "link \(endpoint.name): all of address \($0.prefix)"
            }
        }
        let settings = endpoints.filter { $0.token != nil || $0.isWithoutLinkLocal }.map {
            "link \($0.name): its IPv6 token, or that it has no link-local address"
        }
        let sysctls = endpoints.flatMap { endpoint in
            endpoint.settings.sorted { $0.key < $1.key }.map { "link \(endpoint.name): \($0.key) = \($0.value)" }
        }
        let others = loopback.map { "address \($0.prefix) of the loopback link" }
        let proxies = neighbors.filter(\.isProxy).map { "proxy entry for \($0.address)" }
        let addressed = Dictionary(grouping: endpoints.filter { !$0.addresses.isEmpty }, by: \.hardwareAddress)
        let twins = addressed.values.filter { $0.count > 1 }.map { twins in
            "links \(twins.map(\.name).joined(separator: " and ")) with one hardware address"
        }
        return (
            twins + routes + ownRules + (rules.isEmpty ? [] : missing),
            addresses + settings + sysctls + others + proxies
        )
    }
}

extension Route {
    /// Whether Kata's message has all of the route.
    fileprivate var isCarriedByKata: Bool {
        let usual = isIPv6 ? RouteValue.ipv6Priority : 0
        let metrics = metrics.keys.filter { $0 != RouteMetric.mtu }
        return isOrdinary && priority == usual && metrics.isEmpty && gateway.map { $0.isIPv6 == isIPv6 } ?? true
    }
}

extension LinkAddress {
    /// Whether Kata's message has all of the address.
    fileprivate var isCarriedByKata: Bool { flags == 0 && peer == nil && label == nil && priority == 0 }
}

extension Types_Network {
    init(_ plan: NetworkPlan, places: [Int32: String]) {
        self.init()
        var names = Dictionary(plan.endpoints.map { ($0.link, $0.name) }) { first, _ in first }
        interfaces = plan.endpoints.map { Types_Interface($0, place: places[$0.link] ?? "") }
        interfaces.append(Types_Interface(loopback: plan.loopback))
        names[plan.loopbackLink] = Types_Interface.loopbackName
        routes = plan.routes.map { Types_Route($0, names: names) }
        neighbors = plan.neighbors.map { Types_ARPNeighbor($0, device: names[$0.link] ?? "") }
        rules = plan.rules.map(Types_Rule.init)
    }
}

extension Types_Interface {
    /// Fills Kata's own fields.
    init(_ endpoint: NetworkPlan.Endpoint) {
        self.init()
        device = endpoint.name
        name = endpoint.name
        hwAddr = endpoint.hardwareAddress.description
        mtu = UInt64(endpoint.mtu)
        type = endpoint.kind
        rawFlags = endpoint.flags
        ipaddresses = endpoint.addresses.map { Types_IPAddress($0.prefix) }
    }

    /// Fills all fields.
    /// - Parameter place: the card's PCI path.
    init(_ endpoint: NetworkPlan.Endpoint, place: String) {
        self.init(endpoint)
        devicePath = place
        addresses = endpoint.addresses.map(Types_Address.init)
        ipv6Token = endpoint.token?.description ?? ""
        withoutLinkLocal = endpoint.isWithoutLinkLocal
        settings = endpoint.settings
    }

    static let loopbackName = "lo"

    fileprivate init(loopback: [LinkAddress]) {
        self.init()
        (device, name) = (Self.loopbackName, Self.loopbackName)
        hwAddr = HardwareAddress(bytes: [UInt8](repeating: 0, count: HardwareAddress.ethernetLength)).description
        addresses = loopback.map(Types_Address.init)
    }
}

extension LinkFault {
    /// An entry for a list of the guest's links.
    package var listed: Types_Interface {
        var interface = Types_Interface()
        (interface.device, interface.name, interface.type, interface.fault) = (name, name, kind, reason)
        return interface
    }
}
