import CLinux
import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Netlink

@Suite("The kernel's messages about the network")
struct NetlinkTests {
    private func bytes(_ text: String) -> [UInt8] {
        text.split(whereSeparator: \.isWhitespace).compactMap { UInt8($0, radix: 16) }
    }

    @Test("addresses are read as inet_pton(3) does")
    func addresses() throws {
        #expect(InternetAddress("10.1.2.3")?.bytes == [10, 1, 2, 3])
        #expect(InternetAddress("fe80::1")?.description == "fe80::1")
        #expect(Prefix("10.0.0.0/8")?.description == "10.0.0.0/8" && Prefix("::1")?.length == 128)
        for wrong in ["", "10.1.2", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/"] { #expect(Prefix(wrong) == nil) }
        #expect(HardwareAddress("02:42:AC:11:00:02")?.description == "02:42:ac:11:00:02")
        for wrong in ["", "02:42", "02:42:ac:11:00:0g", "02:42:ac:11:00:002"] { #expect(HardwareAddress(wrong) == nil) }
    }

    // `ip route add 10.2.0.0/16 via 10.1.0.1 dev <2> mtu 1400`, as rtnetlink(7) lays it out.
    @Test("a route on the wire")
    func route() throws {
        var route = Route(
            isIPv6: false, destination: Prefix("10.2.0.0/16"), gateway: InternetAddress("10.1.0.1"), link: 2)
        route.mtu = 1400
        let wire = bytes(
            """
            02 10 00 00 fe 03 00 01 00 00 00 00
            08 00 01 00 0a 02 00 00
            08 00 05 00 0a 01 00 01
            08 00 04 00 02 00 00 00
            08 00 0f 00 fe 00 00 00
            0c 00 08 80 08 00 02 00 78 05 00 00
            """)
        #expect(route.payload == wire)
        #expect(Route(wire) == route)
    }

    @Test("an address in a message has its broadcast; an IPv6 one skips duplicate detection")
    func linkAddress() throws {
        let address = LinkAddress(link: 3, prefix: try #require(Prefix("192.168.5.9/24")))
        #expect(
            address.payload
                == bytes(
                    "02 18 00 00 03 00 00 00 08 00 02 00 c0 a8 05 09 08 00 01 00 c0 a8 05 09 08 00 04 00 c0 a8 05 ff"))
        #expect(LinkAddress(address.payload) == address)
        let six = LinkAddress(link: 3, prefix: try #require(Prefix("fd00::5/64")))
        #expect(six.payload.suffix(8) == bytes("08 00 08 00 02 00 00 00")[...])
        #expect(LinkAddress(six.payload) == six)
    }

    // `tc filter add dev <3> ingress prio 10 protocol all u32 match u32 0 0 action mirred egress redirect dev <7>`.
    @Test("a redirection on the wire")
    func redirection() {
        let wire = bytes(
            """
            00 00 00 00 03 00 00 00 00 00 00 00 f2 ff ff ff 00 03 0a 00
            08 00 01 00 75 33 32 00
            60 00 02 80
            24 00 05 00 01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
            38 00 07 80 34 00 01 80
            0b 00 01 00 6d 69 72 72 65 64 00 00
            24 00 02 80 20 00 02 00 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 07 00 00 00
            """)
        #expect(IngressRule(priority: 10, .redirect(to: 7)).payload(on: 3) == wire)
        // Without an action, a filter that fits lets the packet through.
        let pass = IngressRule(
            protocol: 0x0800, priority: 1, matches: [.init(0x4500_0000, mask: 0xff00_0000, at: 0)], .pass
        ).payload(on: 3)
        #expect(pass.suffix(16) == bytes("ff 00 00 00 45 00 00 00 00 00 00 00 00 00 00 00")[...])
        #expect(pass[16...].starts(with: bytes("08 00 01 00")))
    }

    @Test("every kind of route, address, rule and next hop is the same after the wire")
    func roundTrips() throws {
        let (four, six) = (try #require(InternetAddress("10.1.0.1")), try #require(InternetAddress("fd00::1")))
        var route = Route(
            isIPv6: false, destination: nil,
            hops: [NextHop(link: 2, gateway: four, weight: 3), NextHop(link: 3, gateway: six, isOnLink: true)])
        (route.table, route.priority, route.typeOfService, route.scope) = (5000, 7, 16, 200)
        (route.source, route.metrics) = (four, [2: [1, 2, 3, 4], 16: Array("bbr\0".utf8)])
        #expect(Route(route.payload) == route)
        let none = Route(isIPv6: true, destination: Prefix("fd00:1::/64"), hops: [], type: RouteType.unreachable)
        #expect(Route(none.payload) == none)
        var single = Route(isIPv6: true, destination: Prefix("fd00:1::/64"), gateway: six, link: 4)
        (single.sourcePrefix, single.preference, single.hops[0].isOnLink) = (Prefix("fd00:2::/64"), 1, true)
        #expect(Route(single.payload) == single && single.mtu == 0)
        var address = LinkAddress(link: 3, prefix: try #require(Prefix("10.1.0.1/24")), scope: RouteScope.link)
        (address.peer, address.label, address.flags) = (
            InternetAddress("10.1.0.9"), "eth0:1", AddressFlags.noPrefixRoute
        )
        (address.priority, address.broadcast) = (300, nil)
        #expect(LinkAddress(address.payload) == address)
        for rule in Rule.defaults { #expect(Rule(rule.payload) == rule) }
        let proxy = Neighbor(proxyOn: 0, six)
        #expect(Neighbor(proxy.payload) == proxy && proxy.isProxy && !proxy.isPermanent)
    }

    @Test("a next hop object leads to plain next hops; a missing one drops packets")
    func nextHopObjects() throws {
        let plain = try #require(
            NextHopObject(
                bytes("02 fd 00 00 04 00 00 00 08 00 01 00 07 00 00 00 08 00 05 00 03 00 00 00 08 00 06 00 0a 01 00 01")
            ))
        let gateway = InternetAddress("10.1.0.1")
        #expect(plain.content == .hop(NextHop(link: 3, gateway: gateway, isOnLink: true)))
        let group = try #require(
            NextHopObject(bytes("00 00 00 00 00 00 00 00 08 00 01 00 09 00 00 00 0c 00 02 00 07 00 00 00 04 00 00 00")))
        #expect(group.content == .group([.init(number: 7, weight: 5)]))
        let objects: [UInt32: NextHopObject] = [7: plain, 9: group]
        #expect(
            NextHopObject.hops(9, among: objects) == [NextHop(link: 3, gateway: gateway, isOnLink: true, weight: 5)])
        #expect(NextHopObject.hops(1, among: objects) == nil)
    }

    @Test("a filter is identified by its priority, and by the link that it redirects to")
    func filters() throws {
        let wire = IngressRule(protocol: EtherType.arp, priority: 0xff03, .mirror(to: 7)).payload(on: 3)
        let filter = try #require(IngressFilter(wire))
        #expect(filter.priority == 0xff03 && filter.protocol == EtherType.arp && filter.target == 7)
        let pass = try #require(IngressFilter(IngressRule(priority: 1, .pass).payload(on: 3)))
        #expect(pass.target == nil && pass.protocol == EtherType.all)
    }

    @Test("a neighbour on the wire")
    func neighbor() throws {
        let neighbor = Neighbor(
            link: 4, address: try #require(InternetAddress("10.0.0.7")),
            hardwareAddress: try #require(HardwareAddress("02:00:00:00:00:01")))
        #expect(Neighbor(neighbor.payload) == neighbor)
        #expect(neighbor.payload.count == 12 + 8 + 12)
    }

    @Test("a refusal comes with the kernel's own words")
    func refusals() {
        let words = "08 00 01 00 4e 6f 21 00"
        let message = NetlinkMessage(
            type: 2, flags: 0x300, sequence: 1,
            payload: bytes("ea ff ff ff 20 00 00 00 18 00 05 06 01 00 00 00 00 00 00 00 " + words))
        #expect(message.failure?.errno == EINVAL && message.failure?.words == "No!")
        let plain = NetlinkMessage(type: 2, flags: 0, sequence: 1, payload: bytes("00 00 00 00"))
        #expect(plain.failure?.errno == 0 && plain.failure?.words == "")
    }

    @Test("no bytes from the kernel, however wrong, crash a decoder")
    func fuzz() throws {
        var seeds: [[UInt8]] = [
            NetlinkSocket.payload("eth0", kind: "veth", peer: "eth1"),
            LinkAddress(link: 1, prefix: try #require(Prefix("fd00::5/64"))).payload,
            Route(isIPv6: false, destination: Prefix("10.2.0.0/16"), gateway: InternetAddress("10.1.0.1"), link: 2)
                .payload,
            Route(
                isIPv6: false, destination: nil,
                hops: [NextHop(link: 1), NextHop(link: 2, gateway: InternetAddress("fd00::1"))]
            ).payload,
            Rule(isIPv6: true, priority: 9, table: 1000).payload,
            IngressRule(priority: 9, .redirect(to: 7)).payload(on: 3),
            bytes("00 00 00 00 00 00 00 00 08 00 01 00 09 00 00 00 0c 00 02 00 07 00 00 00 04 00 00 00"),
        ]
        seeds += seeds.map { NetlinkMessage.request(16, flags: 0, sequence: 1, $0) }
        var random = Seeded(3)
        for _ in 0..<Fuzz.rounds(200_000, of: "netlink messages") {
            var bytes = seeds.randomElement(using: &random)!
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
            for message in NetlinkMessage.parse(bytes) { _ = message.failure }
            _ = (Link(bytes), LinkAddress(bytes), Route(bytes)?.mtu, Neighbor(bytes), NextHopObject(bytes))
            _ = (Rule(bytes)?.description, IngressFilter(bytes), QueueingDiscipline(bytes))
        }
    }

    @Test("a list that the kernel ends with an error, or whose objects changed meanwhile, is not taken for a whole one")
    func lists() {
        func message(_ type: UInt16, flags: UInt16 = 0, errno: Int32? = nil) -> NetlinkMessage {
            var writer = MessageWriter()
            if let errno { writer.put(-errno) }
            return NetlinkMessage(type: type, flags: flags, sequence: 1, payload: writer.bytes)
        }
        func list(_ messages: NetlinkMessage...) -> NetlinkList {
            var list = NetlinkList(of: 16)
            for message in messages { list.take(message) }
            return list
        }
        let whole = list(message(16), message(17), message(16), message(MessageType.done, errno: 0), message(16))
        #expect(whole.hasEnded && whole.errno == nil && !whole.hasChanged && whole.messages.count == 2)
        #expect(!list(message(16)).hasEnded && list(message(MessageType.done)).hasEnded)
        for type in [MessageType.done, MessageType.error] {
            let refused = list(message(16), message(type, errno: ENOMEM))
            #expect(refused.hasEnded && refused.errno == ENOMEM)
        }
        // linux/netlink.h, NLM_F_DUMP_INTR.
        for changed in [
            list(message(16, flags: 0x12), message(MessageType.done, errno: 0)),
            list(message(16), message(MessageType.done, flags: 0x10, errno: 0)),
        ] { #expect(changed.hasEnded && changed.errno == nil && changed.hasChanged) }
    }

    @Test("the kernel answers for this machine's own links")
    func ownLinks() throws {
        let socket = try NetlinkSocket()
        let loopback = try #require(try socket.links().first { $0.isLoopback })
        #expect(loopback.name == "lo")
        #expect(throws: SystemError("find link", "nothere", errno: ENODEV)) { try socket.link(named: "nothere") }
    }

    @Test("what traffic alone changes is no change: learned neighbours, and addresses behind a bridge's ports")
    func learned() {
        func message(_ type: UInt16, family: UInt8, state: UInt16) -> NetlinkMessage {
            var writer = MessageWriter()
            for byte in [family, 0, 0, 0] { writer.put(byte) }
            writer.put(UInt32(2))
            writer.put(state)
            for byte in [0, 1] as [UInt8] { writer.put(byte) }
            writer.attribute(1, [10, 1, 0, 9])
            return NetlinkMessage(type: type, flags: 0, sequence: 0, payload: writer.bytes)
        }
        let permanent: UInt16 = 0x80
        for type in [MessageType.newNeighbor, MessageType.deleteNeighbor] {
            #expect(!NetworkMonitor.isChange(message(type, family: UInt8(AF_INET), state: 4)))
            #expect(NetworkMonitor.isChange(message(type, family: UInt8(AF_INET), state: permanent)))
            #expect(!NetworkMonitor.isChange(message(type, family: 7, state: permanent)))
        }
        #expect(NetworkMonitor.isChange(NetlinkMessage(type: MessageType.newRoute, flags: 0, sequence: 0, payload: [])))
    }

    @Test(
        "the network of a prefix",
        arguments: [
            ("10.1.2.3/16", "10.1.0.0/16"), ("10.1.2.255/25", "10.1.2.128/25"), ("fd00::77/64", "fd00::/64"),
            ("1.2.3.4/32", "1.2.3.4/32"), ("1.2.3.4/0", "0.0.0.0/0"),
        ])
    func network(address: String, expected: String) throws {
        #expect(try #require(Prefix(address)).network == Prefix(expected))
    }
}
