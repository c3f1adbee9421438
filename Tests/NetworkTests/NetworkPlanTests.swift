import Netlink
import Testing

@testable import Network

@Suite("What a guest gets of a network namespace")
struct NetworkPlanTests {
    private let address = HardwareAddress(bytes: [2, 0, 0, 0, 0, 1])

    private func view(_ links: Link..., change: (inout NetworkView) -> Void = { _ in }) -> NetworkView {
        var view = NetworkView()
        view.links = links
        view.addresses = links.map {
            LinkAddress(link: $0.index, prefix: Prefix("10.1.\($0.index).2/24")!)
        }
        change(&view)
        return view
    }

    private func link(_ index: Int32, _ name: String, kind: String = "veth", flags: UInt32 = 1) -> Link {
        Link(index: index, name: name, hardwareAddress: address, mtu: 1400, flags: flags, kind: kind)
    }

    @Test("the model decides how a veth's frames get to the guest")
    func models() throws {
        let view = view(link(2, "eth0"))
        let sources: [InternetworkingModel: NetworkPlan.Endpoint.Source] = [
            .tcfilter: .redirected, .macvtap: .stacked, .none: .beside,
        ]
        for (model, source) in sources {
            let endpoint = try #require(NetworkPlan(view, model: model).endpoints.first)
            #expect(endpoint.source == source && endpoint.name == "eth0" && endpoint.mtu == 1400)
            #expect(endpoint.addresses.map(\.prefix) == [Prefix("10.1.2.2/24")!] && endpoint.hardwareAddress == address)
        }
    }

    @Test("a macvlan and an ipvlan can't carry a macvtap; taps and macvtaps are the guest's as they are")
    func kinds() throws {
        let view = view(
            link(2, "a", kind: "macvlan"), link(3, "b", kind: "ipvlan"), link(4, "c", kind: "tun"),
            link(5, "d", kind: "macvtap"))
        #expect(
            NetworkPlan(view, model: .macvtap).endpoints.map(\.source) == [
                .redirected, .redirected, .tap, .macvtap,
            ])
    }

    @Test("a link without Ethernet frames gets an address of its own and no ARP; a tunnel does that was made elsewhere")
    func wrapped() throws {
        var links = [link(2, "tun0", kind: "tun"), link(3, "wg0", kind: "wireguard"), link(4, "ipip1", kind: "ipip")]
        for index in links.indices {
            (links[index].hardwareAddress, links[index].type) = (HardwareAddress(bytes: []), LinkType.none)
        }
        links[2].type = 768
        links[2].hardwareAddress = HardwareAddress(bytes: [10, 1, 0, 2])
        links[2].isBasedElsewhere = true
        for model in [InternetworkingModel.tcfilter, .macvtap] {
            let plan = NetworkPlan(view(links[0], links[1], links[2]), model: model)
            #expect(plan.endpoints.map(\.source) == [.wrapped, .wrapped, .wrapped] && plan.faults == [])
            #expect(plan.endpoints.allSatisfy { $0.flags == LinkFlags.noARP })
            let addresses = plan.endpoints.map(\.hardwareAddress)
            #expect(addresses[0] == HardwareAddress("02:6b:00:00:00:02") && Set(addresses).count == 3)
        }
        let left = NetworkPlan(view(links[0]), model: .none).endpoints
        #expect(left.map(\.source) == [.beside] && left[0].hardwareAddress == HardwareAddress("02:6b:00:00:00:02"))
    }

    @Test("the loopback, links that are down, and the sandbox's own are not for the guest")
    func leftOut() throws {
        let view = view(
            link(1, "lo", flags: 9), link(2, "down", flags: 0), link(4, "tap0_kata", kind: "tun"),
            link(6, "sit0", kind: "sit", flags: 0)
        ) { $0.addresses.removeAll { $0.link == 1 } }
        let plan = NetworkPlan(view, model: .tcfilter)
        #expect(plan.endpoints.isEmpty && plan.faults.isEmpty && plan.refusal == nil)
    }

    @Test("a link without an address is the guest's after all others, unless its frames are another link's")
    func bare() throws {
        var port = link(4, "port")
        port.master = 9
        var vlan = link(6, "vlan", kind: "vlan")
        vlan.lower = 5
        let view = view(
            link(2, "bare"), link(3, "eth0"), port, link(5, "base", kind: "macvlan"), vlan, link(7, "tap", kind: "tun")
        ) {
            view in
            view.addresses.removeAll { [2, 4, 5, 7].contains($0.link) }
            // Only a gift of the kernel's.
            var own = LinkAddress(link: 2, prefix: Prefix("fe80::1/64")!, scope: RouteScope.link)
            own.isKernels = true
            view.addresses.append(own)
        }
        #expect(NetworkPlan(view, model: .tcfilter).endpoints.map(\.name) == ["eth0", "vlan", "bare"])
    }

    @Test(
        "a link that no guest can be given is named with its reason; alone, it is a reason to refuse",
        arguments: [
            ("", "physical device"), ("ipip", "outer packets"), ("vxlan", "outer packets"),
            ("ipoib", "neither Ethernet"),
        ])
    func refused(_ kind: String, _ words: String) {
        var odd = link(2, "odd0", kind: kind)
        if kind == "ipip" { (odd.hardwareAddress, odd.type) = (HardwareAddress(bytes: [10, 1, 0, 2]), 768) }
        // ARPHRD_INFINIBAND.
        if kind == "ipoib" { (odd.hardwareAddress, odd.type) = (HardwareAddress(bytes: [1, 2]), 32) }
        let alone = NetworkPlan(view(odd), model: .tcfilter)
        #expect(alone.refusal?.description.contains("odd0") == true)
        #expect(alone.refusal?.description.contains(words) == true)
        let beside = NetworkPlan(view(odd, link(3, "eth0")), model: .tcfilter)
        #expect(beside.refusal == nil && beside.endpoints.map(\.name) == ["eth0"])
        #expect(beside.faults.map(\.name) == ["odd0"] && beside.faults[0].reason.contains(words))
    }

    private func route(_ link: Int32, _ change: (inout Route) -> Void = { _ in }) -> Route {
        var route = Route(
            isIPv6: false, destination: Prefix("10.9.0.0/16"), gateway: InternetAddress("10.1.2.1"), link: link)
        change(&route)
        return route
    }

    @Test("routes and neighbours of its links go to the guest; what each kernel makes by itself doesn't")
    func routes() throws {
        let neighbor = Neighbor(link: 2, address: InternetAddress("10.1.2.9")!, hardwareAddress: address)
        let own = route(2) { $0.protocol = RouteProtocol.kernel }
        let view = view(link(2, "eth0"), link(3, "down", flags: 0)) { view in
            view.routes = [
                route(2), route(3), own, route(2) { ($0.type, $0.protocol) = (RouteType.local, RouteProtocol.kernel) },
            ]
            view.neighbors = [neighbor]
            view.neighbors.append(Neighbor(link: 3, address: InternetAddress("10.1.2.9")!, hardwareAddress: address))
        }
        let plan = NetworkPlan(view, model: .tcfilter)
        #expect(plan.routes == [route(2), own] && plan.neighbors == [neighbor])
    }

    @Test("what would leave by a link that the guest doesn't have is unreachable, and takes no other way")
    func unreachable() throws {
        let vpn = link(3, "vpn0", kind: "vxlan")
        let view = view(link(2, "eth0"), vpn) { view in
            view.routes = [
                route(3) { $0.priority = 50 }, route(2) { $0.priority = 100 },
                route(2) { $0.hops.append(NextHop(link: 3, weight: 9)) },
                route(2) { ($0.isEncapsulated, $0.table) = (true, 100) },
            ]
        }
        let plan = NetworkPlan(view, model: .tcfilter)
        #expect(plan.routes.map(\.type) == [7, 1, 1, 7] && plan.routes.map(\.priority) == [50, 100, 0, 0])
        #expect(plan.routes[2] == route(2) && plan.routes[3].table == 100)
        #expect(plan.omissions.count == 1 && plan.omissions[0].contains("10.9.0.0/16 via 10.1.2.1 table 100"))
        // The same holds for a link that failed on its way to the guest.
        let failed = LinkFault(plan.endpoints[0], NetworkError("no port"))
        let without = NetworkPlan(view, model: .tcfilter, failed: [failed])
        #expect(without.routes.allSatisfy { $0.type == RouteType.unreachable } && without.endpoints.isEmpty)
        #expect(without.refusal?.description.contains("link eth0 can't be given to the guest: no port") == true)
    }

    @Test("for an agent with Kata's messages alone: what they can't carry is refused or named")
    func beyondKata() throws {
        let rule = try #require(Rule.defaults.last)
        func lost(_ change: (inout NetworkView) -> Void) -> (refused: [String], named: [String]) {
            NetworkPlan(
                view(link(2, "eth0")) { view in
                    view.rules = Rule.defaults
                    change(&view)
                }, model: .tcfilter
            ).beyondKata
        }
        let usual = lost { $0.routes = [self.route(2), self.route(2) { $0.protocol = RouteProtocol.kernel }] }
        #expect(usual.refused.isEmpty && usual.named.isEmpty)
        #expect(
            lost { $0.routes = [self.route(2) { $0.priority = 9 }] }.refused == [
                "route to 10.9.0.0/16 via 10.1.2.1 metric 9"
            ])
        #expect(
            lost { $0.rules.append(Rule(isIPv6: false, priority: 7, table: 100)) }.refused == [
                "rule 7: from all lookup 100"
            ])
        #expect(
            lost { $0.rules.removeAll { $0 == rule } }.refused == ["the absence of rule 32767: from all lookup 253"])
        let named = lost { view in
            view.addresses[0].flags = AddressFlags.noPrefixRoute
            view.neighbors = [Neighbor(proxyOn: 2, InternetAddress("10.1.2.50")!)]
        }
        #expect(named.refused.isEmpty && named.named.count == 2)
    }

    @Test("another hardware address is another card, another name or address is not")
    func cards() throws {
        let one = try #require(NetworkPlan(view(link(2, "eth0")), model: .tcfilter).endpoints.first)
        let named = try #require(NetworkPlan(view(link(2, "net1")), model: .tcfilter).endpoints.first)
        #expect(one != named && one.isSameCard(as: named))
        var changed = link(2, "eth0")
        changed.hardwareAddress = HardwareAddress(bytes: [2, 0, 0, 0, 0, 9])
        let other = try #require(NetworkPlan(view(changed), model: .tcfilter).endpoints.first)
        #expect(!one.isSameCard(as: other))
    }
}
