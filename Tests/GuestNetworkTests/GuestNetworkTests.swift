import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC
import TestSupport
import Testing

@testable import GuestNetwork

@Suite("What the host asks of a guest's network")
struct GuestNetworkPlanTests {
    private func interface(_ change: (inout Types_Interface) -> Void = { _ in }) -> Types_Interface {
        var interface = Types_Interface()
        interface.name = "eth0"
        interface.hwAddr = "02:00:00:00:00:01"
        interface.mtu = 1400
        var address = Types_IPAddress()
        (address.address, address.mask) = ("10.9.0.2", "24")
        interface.ipaddresses = [address]
        change(&interface)
        return interface
    }

    @Test("an error names its field")
    func refusals() {
        func field(_ change: (inout Types_Interface) -> Void) -> String? {
            do {
                _ = try InterfacePlan(interface(change))
                return nil
            } catch { return error.message.split(separator: ":").first.map(String.init) }
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.hwAddr = "02:00" } == "interface.hwAddr")
        #expect(field { $0.name = "a/b" } == "interface.name")
        #expect(field { $0.name = ".." } == "interface.name")
        for setting in ["ipv4/conf/../all/rp_filter", "ipv4/ip_forward", "rp_filter", "ipv4/conf/", "core/conf/x"] {
            #expect(field { $0.settings = [setting: "1"] } == "interface.settings", "\(setting)")
        }
        #expect(field { $0.settings = ["ipv6/conf/disable_ipv6": "1", "ipv4/neigh/ucast_solicit": "5"] } == nil)
        #expect(field { $0.name = "sixteen-letters-" } == "interface.name")
        #expect(field { $0.mtu = 70000 } == "interface.mtu")
        #expect(field { $0.ipaddresses[0].mask = "33" } == "interface.IPAddresses[0]")
        #expect(field { $0.ipaddresses[0].address = "10.9" } == "interface.IPAddresses[0]")
    }

    @Test(
        "links, addresses, routes and neighbours become what the host says, in a network of their own",
        .enabled(if: getuid() == 0, "a network namespace needs root"))
    func kernel() throws {
        try inOwnNetwork {
            let socket = try NetlinkSocket()
            try socket.create("left", kind: "veth", peer: "right")
            try socket.create("eth0", kind: "veth", peer: "other")
            let left = try socket.link(named: "left")
            let right = try socket.link(named: "right")
            #expect(left.kind == "veth" && left.lower == right.index)
            var change = NetlinkSocket.Change()
            change.isUp = true
            try socket.change(right.index, change)
            try socket.add(LinkAddress(link: left.index, prefix: Prefix("10.8.0.1/24")!))

            // The name is taken by another link, which gives it away; the address that was there goes.
            let done = try NetworkSettings.update(
                interface { $0.hwAddr = left.hardwareAddress.description }, timeout: .seconds(3))
            #expect(done.name == "eth0" && done.mtu == 1400)
            #expect(done.ipaddresses.filter { $0.family == .v4 }.map { "\($0.address)/\($0.mask)" } == ["10.9.0.2/24"])
            let now = try #require(try socket.links().first { $0.index == left.index })
            #expect(now.isUp && now.name == "eth0")

            var gateway = Types_Route()
            (gateway.gateway, gateway.device) = ("10.9.0.1", "eth0")
            var far = Types_Route()
            (far.dest, far.device, far.mtu) = ("10.77.0.0/16", "eth0", 1300)
            // The default route comes first and needs the other to be there only for its gateway.
            let routes = try NetworkSettings.update([gateway, far]).routes
            #expect(routes.contains { $0.dest == "" && $0.gateway == "10.9.0.1" && $0.device == "eth0" })
            #expect(routes.contains { $0.dest == "10.77.0.0/16" && $0.mtu == 1300 && $0.scope == 253 })
            #expect(try NetworkSettings.update([far]).routes.allSatisfy { $0.gateway == "" })
            // A list of routes may be set again: the kernel's own routes stay unchanged, and outlive the next update.
            _ = try NetworkSettings.update(NetworkSettings.routes().routes)
            _ = try NetworkSettings.update([far])
            #expect(try NetworkSettings.update([gateway, far]).routes.contains { $0.gateway == "10.9.0.1" })
            var wrong = far
            wrong.device = "eth7"
            #expect(throws: RPCError.self) { try NetworkSettings.update([wrong]) }

            var neighbor = Types_ARPNeighbor()
            (neighbor.device, neighbor.lladdr, neighbor.toIpaddress.address) = ("eth0", "02:00:00:00:00:09", "10.9.0.9")
            try NetworkSettings.add([neighbor])
            #expect(try socket.neighbors().contains { $0.address.description == "10.9.0.9" && $0.state == 0x80 })

            #expect(try NetworkSettings.interfaces().interfaces.contains { $0.name == "eth0" && $0.type == "veth" })
            let absent = interface { $0.hwAddr = "02:00:00:00:00:77" }
            #expect(throws: RPCError.self) { try NetworkSettings.update(absent, timeout: .milliseconds(50)) }
        }
    }

    @Test(
        "a link that is plugged in while it is waited for is found",
        .enabled(if: getuid() == 0, "a network namespace needs root"))
    func hotPlug() throws {
        try inOwnNetwork {
            // The other thread shares this one's namespace: it is started from here.
            detachThread("plug") {
                usleep(50_000)
                guard let socket = try? NetlinkSocket(), (try? socket.create("late", kind: "veth", peer: "end")) != nil,
                    let link = try? socket.link(named: "late")
                else { return }
                var change = NetlinkSocket.Change()
                change.hardwareAddress = HardwareAddress("02:00:00:00:00:55")
                try? socket.change(link.index, change)
            }
            let found = try NetworkSettings.update(interface { $0.hwAddr = "02:00:00:00:00:55" }, timeout: .longWait)
            #expect(found.name == "eth0")
        }
    }

    @Test("a kernel without the rules of a family has the default ones")
    func withoutRules() {
        let ofIPv4 = Rule.defaults.filter { !$0.isIPv6 }
        #expect(NetworkDifference.rules(ofIPv4, Rule.defaults, Rule.defaults).isEmpty)
        #expect(NetworkDifference.rules([], Rule.defaults, Rule.defaults).isEmpty)
        let own = Rule(isIPv6: false, priority: 7, table: 100)
        #expect(NetworkDifference.rules(ofIPv4, Rule.defaults, Rule.defaults + [own]).count == 1)
    }
}
