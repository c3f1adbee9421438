import AgentAPI
import Glibc
import GuestNetwork
import LinuxKernel
import Netlink
import SwiftProtobuf
import TTRPC
import TestSupport
import Testing

@testable import Network

/// Brings a namespace that plays the guest to the state of another one, by the plan of the host and the code of the
/// agent.
private final class Mirror: Sendable {
    let host: NetworkNamespace
    let guest: NetworkNamespace
    private let state = GuestNetworkState()

    /// Both have the links `eth0` and `eth1`, of which the host's have addresses.
    init() throws {
        host = try NetworkNamespace.forTest()
        guest = try NetworkNamespace.forTest()
        let links = """
            ip link set lo up
            for i in 0 1; do
                ip link add eth$i address 02:00:00:00:00:0$i type veth peer name peer$i
                ip link set peer$i up
            done
            """
        try guest.shell(links)
        try host.shell(
            links + """

                ip link set eth0 up; ip link set eth1 up
                ip addr add 10.1.0.2/24 dev eth0; ip addr add fd00:1::2/64 dev eth0 nodad
                ip addr add 10.2.0.2/24 dev eth1; ip addr add fd00:2::2/64 dev eth1 nodad
                """)
    }

    /// The content of a namespace as the agent's message. It is sorted, as the order of routes means nothing.
    static func content(of namespace: NetworkNamespace) throws -> Types_Network {
        nonisolated(unsafe) var network = Types_Network()
        try inNetwork(namespace) {
            let view = try NetworkView(NetlinkSocket())
            network = Types_Network(NetworkPlan(view, model: .tcfilter), places: [:])
        }
        network.interfaces = network.interfaces.filter { ["eth0", "eth1", "lo"].contains($0.name) }
        return network
    }

    /// Sends the host's state to the guest.
    /// - Returns: that state.
    @discardableResult
    func update() throws -> Types_Network {
        let network = try Self.content(of: host)
        try inNetwork(guest) { [state] in try state.update(network, timeout: .seconds(1)) }
        return network
    }

    /// The lines in which the guest differs from the host; empty when both are the same.
    func differences() throws -> [String] {
        let (wanted, present) = (try Self.lines(host), try Self.lines(guest))
        return wanted.subtracting(present).map { "missing: \($0)" } + present.subtracting(wanted).map { "more: \($0)" }
    }

    private static func lines(_ namespace: NetworkNamespace) throws -> Set<String> {
        let network = try content(of: namespace)
        var lines: Set<String> = []
        for interface in network.interfaces {
            lines.insert("link \(interface.name) \(interface.mtu)")
            for address in interface.addresses { lines.insert("\(interface.name) \(address.textFormatString())") }
        }
        for var route in network.routes {
            // A gateway may be taken for reachable where its own route has gone.
            for index in route.nextHops.indices { route.nextHops[index].onLink = false }
            route.flags = 0
            lines.insert("route \(sorted(route.metrics)) " + text(route) { $0.metrics = [:] })
        }
        for neighbor in network.neighbors { lines.insert("neighbor \(neighbor.textFormatString())") }
        for rule in network.rules {
            lines.insert("rule \(sorted(rule.attributes)) " + text(rule) { $0.attributes = [:] })
        }
        return lines
    }

    private static func text<Message: SwiftProtobuf.Message>(_ message: Message, _ change: (inout Message) -> Void)
        -> String
    {
        var message = message
        change(&message)
        return message.textFormatString()
    }

    private static func sorted(_ map: [UInt32: some Sequence<UInt8>]) -> String {
        "\(map.sorted { $0.key < $1.key }.map { "\($0.key)=\(Array($0.value))" })"
    }

    /// Changes the host, sends its state, and checks that the guest has it.
    func follow(_ script: String, _ location: SourceLocation = #_sourceLocation) throws {
        try host.shell(script)
        var sent = try update()
        // The kernel makes the route to an IPv6 address's peer a moment after the address (addrconf_dad_work). On the
        // host that is another change; nothing else is sent twice.
        let deadline = ContinuousClock.now + .longWait
        var differences = try differences()
        while !differences.isEmpty, .now < deadline {
            usleep(10_000)
            if try Self.content(of: host) != sent { sent = try update() }
            differences = try self.differences()
        }
        #expect(differences.isEmpty, "after: \(script)", sourceLocation: location)
    }
}

@Suite(
    "A guest's network is the namespace's", .enabled(if: NetworkNamespace.hasTools, "needs root and ip(8)"),
    .timeLimit(.minutes(5)))
struct GuestMirrorTests {
    @Test("settings of a link are the host's while they differ from the default there; the guest's own changes stay")
    func settings() throws {
        let mirror = try Mirror()
        func values() throws -> [String] {
            nonisolated(unsafe) var found: [String] = []
            try inNetwork(mirror.guest) {
                found = try [
                    "ipv4/conf/eth0/rp_filter", "ipv4/neigh/eth0/ucast_solicit", "ipv6/conf/eth1/disable_ipv6",
                    "ipv4/conf/eth1/arp_notify",
                ].map { String(try Files.readText("/proc/sys/net/" + $0).dropLast()) }
            }
            return found
        }
        try mirror.host.shell(
            """
            cd /proc/sys/net; echo 2 > ipv4/conf/default/rp_filter; echo 1 > ipv6/conf/default/disable_ipv6
            echo 1 > ipv4/conf/eth0/rp_filter; echo 2 > ipv4/conf/eth1/rp_filter
            echo 7 > ipv4/neigh/eth0/ucast_solicit; echo 1 > ipv6/conf/eth1/disable_ipv6
            """)
        let sent = try mirror.update().interfaces
        #expect(
            sent.first { $0.name == "eth0" }?.settings == ["ipv4/conf/rp_filter": "1", "ipv4/neigh/ucast_solicit": "7"])
        #expect(sent.first { $0.name == "eth1" }?.settings == ["ipv6/conf/disable_ipv6": "1"])
        #expect(try values() == ["1", "7", "1", "0"])
        try mirror.guest.shell("cd /proc/sys/net; echo 8 > ipv4/neigh/eth0/ucast_solicit")
        try mirror.follow("ip route add 10.9.0.0/16 dev eth0; echo 1 > /proc/sys/net/ipv4/conf/eth1/arp_notify")
        #expect(try values() == ["1", "8", "1", "1"])
        try mirror.host.shell(
            """
            cd /proc/sys/net; echo 2 > ipv4/conf/eth0/rp_filter; echo 3 > ipv4/neigh/eth0/ucast_solicit
            echo 0 > ipv6/conf/eth1/disable_ipv6; echo 0 > ipv4/conf/eth1/arp_notify
            """)
        try mirror.update()
        #expect(try values() == ["0", "8", "0", "0"])
    }

    @Test("two default routes with metrics, of IPv4 and IPv6: the lower metric wins, and the other one stays")
    func metrics() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip route add default via 10.1.0.1 metric 100; ip route add default via 10.2.0.1 metric 200
            ip -6 route add default via fd00:1::1 metric 100; ip -6 route add default via fd00:2::1 metric 200
            """)
        try mirror.follow("ip route del default metric 100; ip -6 route del default metric 100")
        try mirror.follow(
            "ip route add default via 10.1.0.9 metric 100; ip route replace default via 10.2.0.9 metric 200")
    }

    @Test("a default route with two next hops has both, with their weights")
    func multipath() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip route add default nexthop via 10.1.0.1 weight 3 nexthop via 10.2.0.1
            ip -6 route add default nexthop via fd00:1::1 nexthop via fd00:2::1 weight 2
            """)
        try mirror.follow("ip route replace default nexthop via 10.1.0.1 nexthop via 10.2.0.9")
        try mirror.follow("ip route replace default via 10.1.0.1; ip -6 route del default nexthop via fd00:2::1")
    }

    @Test("routes by next hop objects have the objects' hops", arguments: [0, 1])
    func nextHopObjects(_ compatibility: Int) throws {
        let mirror = try Mirror()
        try mirror.host.shell("echo \(compatibility) > /proc/sys/net/ipv4/nexthop_compat_mode")
        try mirror.follow(
            """
            ip nexthop add id 7 via 10.1.0.1 dev eth0; ip nexthop add id 8 via 10.2.0.1 dev eth1
            ip nexthop add id 9 group 7,2/8; ip nexthop add id 10 blackhole
            ip nexthop add id 17 via fd00:1::1 dev eth0
            ip route add 10.55.0.0/16 nhid 9; ip route add 10.56.0.0/16 nhid 7; ip route add 10.57.0.0/16 nhid 10
            ip -6 route add fd00:55::/64 nhid 17
            """)
        try mirror.follow("ip nexthop replace id 7 via 10.1.0.77 dev eth0")
    }

    @Test("rules and their tables are followed; so is a default rule that was moved or removed")
    func rules() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip route add default via 10.2.0.1 table 100; ip -6 route add default via fd00:2::1 table 5000
            ip route add 10.9.0.0/16 via 10.1.0.1 table 100 metric 7
            ip rule add from 10.2.0.2 lookup 100; ip -6 rule add from fd00:2::2 lookup 5000
            ip rule add not fwmark 0x10/0xff iif eth1 lookup 100 pref 90; ip rule add to 10.66.0.0/16 prohibit
            ip rule add ipproto tcp dport 80-90 goto 32766 pref 50; ip rule add uidrange 5-9 oif eth0 blackhole
            ip rule add lookup main suppress_prefixlength 0 pref 40
            """)
        try mirror.follow("ip rule del pref 0; ip rule add pref 20 lookup local; ip rule del pref 32767")
        try mirror.follow(
            "ip rule flush; ip rule add pref 32766 lookup main; ip -6 rule del from fd00:2::2 lookup 5000")
    }

    @Test("what is unreachable, prohibited, dropped or thrown in the namespace is so in the guest")
    func types() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip route add default via 10.1.0.1; ip route add unreachable 10.91.0.0/16; ip route add blackhole 10.92.0.0/16
            ip route add prohibit 10.93.0.0/16; ip route add throw 10.94.0.0/16 table 100
            ip route add blackhole default table 100 metric 9; ip -6 route add unreachable fd00:91::/64
            ip -6 route add blackhole default metric 4000; ip -6 route add prohibit fd00:93::/64 table 100
            """)
        try mirror.follow("ip route del unreachable 10.91.0.0/16; ip route replace 10.92.0.0/16 via 10.2.0.1")
    }

    @Test("an address without a route to its network: the gateway is reached by a link route")
    func noPrefixRoute() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip addr flush dev eth0; ip addr flush dev eth1
            ip addr add 10.1.0.2/24 dev eth0 noprefixroute; ip addr add fd00:1::2/64 dev eth0 noprefixroute nodad
            ip route add 169.254.1.1 dev eth0 scope link; ip route add default via 169.254.1.1 dev eth0 src 10.1.0.2
            ip -6 route add fd00:ffff::1 dev eth0; ip -6 route add default via fd00:ffff::1 dev eth0
            """)
        // The namespace's kernel keeps the default route.
        try mirror.follow("ip route del 169.254.1.1; ip -6 route del fd00:ffff::1")
        try mirror.follow("ip addr del 10.1.0.2/24 dev eth0; ip addr add 10.1.0.2/24 dev eth0")
        // A route that the kernel has made, and that was removed or moved by hand.
        try mirror.follow("ip route del 10.1.0.0/24 dev eth0")
        try mirror.follow(
            "ip addr add 10.8.0.2/24 dev eth1 metric 300; ip route add default via 10.77.0.1 dev eth1 onlink")
    }

    @Test("addresses have their peer, scope, broadcast and label; the first one of a subnet stays the first")
    func addresses() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip addr add 10.5.0.1 peer 10.5.0.2 dev eth0; ip addr add 169.254.7.7/16 dev eth0 scope link
            ip addr add 10.6.0.2/24 brd + dev eth0 label eth0:6; ip addr add 10.6.0.3/24 dev eth0
            ip addr add 10.6.0.4/24 dev eth0; ip addr add fe80::77/64 dev eth0 nodad
            ip addr add fd00:5::1 peer fd00:5::2 dev eth0 nodad; ip addr add 10.200.0.1/32 dev lo
            ip addr add fd00:200::1/128 dev lo; ip route add local 10.201.0.0/24 dev lo
            """)
        try mirror.follow("ip addr del 10.6.0.2/24 dev eth0")
        try mirror.follow(
            "ip addr add 10.6.0.4/24 dev eth0; ip addr add 10.6.0.2/24 dev eth0; ip addr add 10.6.0.3/24 dev eth0")
        try mirror.follow("ip addr flush dev eth1; ip addr add 10.2.0.9/24 dev eth1; ip addr del 10.200.0.1/32 dev lo")
    }

    @Test("permanent neighbours and proxy entries come and go; learned ones are the guest's own matter")
    func neighbors() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:99 dev eth0; ip neigh add proxy 10.1.0.50 dev eth0
            ip -6 neigh add fd00:1::9 lladdr 02:00:00:00:00:99 dev eth0; ip -6 neigh add proxy fd00:1::50 dev eth0
            ip neigh add 10.1.0.8 lladdr 02:00:00:00:00:98 dev eth0 nud stale
            """)
        try mirror.follow(
            "ip neigh del 10.1.0.9 dev eth0; ip neigh del proxy 10.1.0.50 dev eth0; ip neigh add proxy 10.1.0.51 dev eth1"
        )
    }

    @Test("routes have their MTU and other metrics, source, scope, type of service and protocol")
    func fields() throws {
        let mirror = try Mirror()
        try mirror.follow(
            """
            ip route add 10.70.0.0/16 via 10.1.0.1 mtu lock 1300 advmss 1200 initcwnd 20 src 10.1.0.2 proto static
            ip route add 10.71.0.0/16 dev eth0 tos 0x10; ip route add 10.71.0.0/16 dev eth1
            ip route add 10.72.0.0/16 via inet6 fd00:1::1 dev eth0; ip route append 10.71.0.0/16 dev eth0
            ip -6 route add fd00:70::/64 via fd00:1::1 mtu 1300 hoplimit 9 proto bird pref high
            """)
        try mirror.follow("ip route replace 10.70.0.0/16 via 10.1.0.1 mtu 1200; ip link set eth0 mtu 1400")
    }

    @Test("a link's IPv6 token and its want of a link-local address are the guest's too")
    func kernelsOwnAddresses() throws {
        let mirror = try Mirror()
        try mirror.follow("ip token set ::77 dev eth0; ip link set eth1 addrgenmode none")
        try mirror.guest.shell("ip token get dev eth0 | grep ::77; [ -z \"$(ip addr show dev eth1 | grep fe80)\" ]")
        try mirror.host.shell("ip token set :: dev eth0")
        try mirror.update()
        try mirror.guest.shell("! ip token get dev eth0 | grep ::77")
    }

    @Test("what programs of the guest have set stays")
    func guestsOwn() throws {
        let mirror = try Mirror()
        try mirror.follow("ip route add default via 10.1.0.1")
        try mirror.guest.shell(
            """
            ip addr add 10.50.0.1/24 dev eth0; ip route add 10.51.0.0/16 via 10.1.0.7; ip rule add fwmark 7 lookup 700
            ip route add default dev eth1 table 700; ip neigh add 10.1.0.33 lladdr 02:00:00:00:00:33 dev eth0
            """)
        try mirror.host.shell("ip route replace default via 10.1.0.3; ip addr add 10.1.0.20/24 dev eth0")
        try mirror.update()
        try mirror.guest.shell(
            """
            ip addr show dev eth0 | grep 10.50.0.1; ip route | grep '10.50.0.0/24 dev eth0'; ip route | grep 10.51.0.0
            ip rule | grep 'lookup 700'
            ip route show table 700 | grep eth1; ip neigh | grep 10.1.0.33; ip route | grep 'default via 10.1.0.3'
            """)
    }

    @Test("with IPv6 off by a sysctl of the guest, a change of IPv4 routes is followed")
    func withoutIPv6() throws {
        let mirror = try Mirror()
        try mirror.follow("ip -6 route add default via fd00:1::1; ip -6 route add unreachable fd00:9::/64")
        try mirror.guest.shell("for i in all lo; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
        try mirror.host.shell("ip route add default via 10.1.0.1")
        try mirror.update()
        try mirror.guest.shell("ip route | grep 'default via 10.1.0.1'; [ -z \"$(ip -6 addr show dev eth0)\" ]")
    }

    @Test("a link that has not appeared is named, and everything else is done")
    func missingLink() throws {
        let mirror = try Mirror()
        try mirror.host.shell("ip route add default via 10.1.0.1; ip route add 10.9.0.0/16 via 10.2.0.1")
        try mirror.guest.shell("ip link del eth1")
        let error = #expect(throws: RPCError.self) { try mirror.update() }
        #expect(error?.code == .failedPrecondition && error?.message.hasPrefix("link eth1: ") == true)
        try mirror.guest.shell("ip route | grep 'default via 10.1.0.1'; [ -z \"$(ip route show 10.9.0.0/16)\" ]")
        // The link comes later: all is well.
        try mirror.guest.shell("ip link add eth1 address 02:00:00:00:00:01 type veth peer name peer9")
        try mirror.update()
        #expect(try mirror.differences() == [])
    }

    @Test("a thousand routes are followed, and all go again")
    func thousandRoutes() throws {
        let mirror = try Mirror()
        let lines = (0..<1000).map { "route add 10.\(100 + $0 / 250).\($0 % 250).0/24 via 10.1.0.1" }
        try mirror.follow("ip -batch - <<X\n" + lines.joined(separator: "\n") + "\nX")
        try mirror.follow("ip route flush proto boot")
    }

    @Test("a random series of changes is followed step by step")
    func series() throws {
        let mirror = try Mirror()
        var random = Seeded(23)
        for _ in 0..<Fuzz.rounds(60, of: "changes of a namespace") {
            var script = ""
            for _ in 0..<Int.random(in: 1...4, using: &random) { script += Self.change(&random) + " || true\n" }
            try mirror.follow(script)
        }
    }

    /// A change, which may fail in the namespace: then it changes nothing.
    private static func change(_ random: inout Seeded) -> String {
        func pick(_ choices: String...) -> String { choices.randomElement(using: &random)! }
        let (net, link) = (pick("1", "2"), pick("eth0", "eth1"))
        let verb = pick("add", "add", "replace", "append", "del")
        let metric = pick("", "metric 5", "metric 9")
        let table = pick("", "", "table 100")
        return switch Int.random(in: 0..<9, using: &random) {
        case 0: "ip route \(verb) default via 10.\(net).0.\(pick("1", "3")) \(metric) \(table)"
        case 1: "ip -6 route \(verb) default via fd00:\(net)::\(pick("1", "3")) \(metric) \(table)"
        case 2: "ip route \(verb) \(pick("unreachable", "blackhole")) 10.7\(net).0.0/16 \(metric) \(table)"
        case 3: "ip route \(verb) 10.7\(net).0.0/16 dev \(link) \(metric) \(table)"
        case 4: "ip route \(verb) 10.7\(net).0.0/16 nexthop via 10.1.0.1 nexthop via 10.2.0.\(pick("1", "3"))"
        case 5: "ip addr \(pick("add", "del")) 10.\(pick("1", "2", "3")).0.\(pick("2", "5", "6"))/24 dev \(link)"
        case 6:
            "ip addr \(pick("add", "del")) fd00:\(net)::\(pick("2", "5"))/64 dev \(link) \(pick("nodad", "nodad noprefixroute"))"
        case 7: "ip rule \(pick("add", "del")) from 10.\(net).0.2 lookup 100 pref 9\(net)"
        default: "ip link set \(link) down; ip link set \(link) up"
        }
    }
}
