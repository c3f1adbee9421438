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
            let endpoint = try #require(try NetworkPlan(view, model: model).endpoints.first)
            #expect(endpoint.source == source && endpoint.name == "eth0" && endpoint.mtu == 1400)
            #expect(endpoint.addresses == [Prefix("10.1.2.2/24")!] && endpoint.hardwareAddress == address)
        }
    }

    @Test("a macvlan and an ipvlan can't carry a macvtap; taps and macvtaps are the guest's as they are")
    func kinds() throws {
        let view = view(
            link(2, "a", kind: "macvlan"), link(3, "b", kind: "ipvlan"), link(4, "c", kind: "tun"),
            link(5, "d", kind: "macvtap"))
        #expect(
            try NetworkPlan(view, model: .macvtap).endpoints.map(\.source) == [
                .redirected, .redirected, .tap, .macvtap,
            ])
    }

    @Test("the loopback, links that are down or have no address, and the sandbox's own are not for the guest")
    func leftOut() throws {
        let view = view(
            link(1, "lo", flags: 9), link(2, "down", flags: 0), link(3, "bare"), link(4, "tap0_kata", kind: "tun"),
            link(6, "sit0", kind: "sit", flags: 0)
        ) { view in
            view.addresses.removeAll { $0.link == 3 }
            // Only a gift of the kernel's.
            view.addresses.append(LinkAddress(link: 3, prefix: Prefix("fe80::1/64")!, scope: 253))
        }
        #expect(try NetworkPlan(view, model: .tcfilter) == .empty)
    }

    @Test(
        "a link that no guest can be given is refused by name",
        arguments: [("", "physical device"), ("wireguard", "no Ethernet frames"), ("tun", "use a tap")])
    func refused(_ kind: String, _ words: String) {
        var link = link(2, "odd0", kind: kind)
        if kind != "" { link.hardwareAddress = HardwareAddress(bytes: []) }
        let view = view(link)
        let error = #expect(throws: NetworkError.self) { try NetworkPlan(view, model: .tcfilter) }
        #expect(error?.description.contains("odd0") == true && error?.description.contains(words) == true)
    }

    @Test("routes and neighbours of its links go to the guest, the kernel's own routes don't")
    func routes() throws {
        func route(_ link: Int32, _ change: (inout Route) -> Void = { _ in }) -> Route {
            var route = Route(
                isIPv6: false, destination: Prefix("10.9.0.0/16"), gateway: InternetAddress("10.1.2.1"), link: link)
            change(&route)
            return route
        }
        let neighbor = Neighbor(link: 2, address: InternetAddress("10.1.2.9")!, hardwareAddress: address)
        let view = view(link(2, "eth0"), link(3, "down", flags: 0)) { view in
            view.routes = [
                route(2), route(3), route(2) { $0.protocol = 2 }, route(2) { $0.table = 255 }, route(2) { $0.type = 3 },
            ]
            view.neighbors = [neighbor]
            view.neighbors.append(Neighbor(link: 3, address: InternetAddress("10.1.2.9")!, hardwareAddress: address))
        }
        let plan = try NetworkPlan(view, model: .tcfilter)
        #expect(plan.routes == [route(2)] && plan.neighbors == [neighbor])
        #expect(plan.without(2) == .empty)
    }

    @Test("another hardware address is another card, another name or address is not")
    func cards() throws {
        let one = try #require(try NetworkPlan(view(link(2, "eth0")), model: .tcfilter).endpoints.first)
        let named = try #require(try NetworkPlan(view(link(2, "net1")), model: .tcfilter).endpoints.first)
        #expect(one != named && one.isSameCard(as: named))
        var changed = link(2, "eth0")
        changed.hardwareAddress = HardwareAddress(bytes: [2, 0, 0, 0, 0, 9])
        let other = try #require(try NetworkPlan(view(changed), model: .tcfilter).endpoints.first)
        #expect(!one.isSameCard(as: other))
    }
}
