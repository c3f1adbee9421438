import AgentAPI
import Cleanup
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import Logging
import NIOPosix
import Netlink
import OCISpec
import Streams
import TTRPC
import TestSupport
import Testing

@testable import Network

/// A sandbox's network on a fake machine, with a fake agent, in a network namespace of the test's own.
@Suite(
    "The network of a sandbox", .enabled(if: getuid() == 0, "network namespaces need root"), .timeLimit(.minutes(5)))
struct SandboxNetworkTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// A namespace with a veth `eth0` that has an address, kept by a descriptor.
    private func namespace() throws -> NetworkNamespace {
        nonisolated(unsafe) var made: NetworkNamespace?
        try runThread("network") {
            guard let namespace = try? NetworkNamespace.make(), let socket = try? NetlinkSocket() else { return }
            try? Self.addLink("eth0", "10.1.0.2/24", socket)
            made = namespace
        }
        return try #require(made)
    }

    private static func addLink(_ name: String, _ address: String, _ socket: borrowing NetlinkSocket) throws {
        try socket.create(name, kind: "veth", peer: "p-" + name)
        var up = NetlinkSocket.Change()
        up.isUp = true
        for each in [name, "p-" + name] { try socket.change(try socket.link(named: each).index, up) }
        try socket.add(LinkAddress(link: try socket.link(named: name).index, prefix: Prefix(address)!))
    }

    private func within(_ namespace: NetworkNamespace, _ body: @escaping @Sendable () throws -> Void) async throws {
        try await blocking("network") {
            try namespace.enter()
            try body()
        }
    }

    private func settings(_ namespace: NetworkNamespace) throws -> NetworkSettings {
        var spec = Spec.example
        spec.linux?.namespaces = [.init(type: "network", path: namespace.path)]
        return try NetworkSettings(
            spec, process: nil, configuration: .init(), host: .init(namespace: 1, hasVhost: false) { _ in 2 },
            source: "config.json")
    }

    private func machine() async throws -> FakeVirtualMachine {
        let hypervisor = FakeHypervisor()
        _ = try await hypervisor.start(
            VMConfiguration(name: "s", directory: "/", consoleFile: "/c", kernel: OpenFile(named: "/k")),
            logs: BoundedLogs(), memory: nil, on: loop, admit: { _ in })
        return hypervisor.machines[0]
    }

    @Test("links of the namespace become cards before there is an agent, and reach it when it is connected")
    func reconcile() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let (machine, guest) = (try await machine(), try FakeGuest())
        let network = SandboxNetwork(
            try settings(namespace), namespace: namespace, ledger: ledger, machine: machine, loop: loop,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await network.reconcile()
        #expect(machine.cards == ["net0"] && !guest.calls.contains("UpdateInterface"))
        let connection = try await RPCClient.connect(socket: guest.agent.host, on: loop)
        await network.connect(AgentServiceClient(client: connection), features: [])
        try await network.reconcile()
        #expect(guest.calls.filter { $0 == "UpdateInterface" }.count == 1 && guest.calls.contains("UpdateRoutes"))
        // Nothing has changed: nothing is sent.
        let before = guest.calls.count
        try await network.reconcile()
        #expect(guest.calls.count == before && machine.cards == ["net0"])

        try await within(namespace) { try Self.addLink("eth1", "10.3.0.2/24", NetlinkSocket()) }
        try await network.reconcile()
        #expect(machine.cards == ["net0", "net1"])
        await network.close()
        await connection.close()
    }

    @Test("a machine that refuses a card: the error names it, and the link is as before")
    func refused() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let machine = try await machine()
        machine.failAdditions(VMError("no port"))
        let network = SandboxNetwork(
            try settings(namespace), namespace: namespace, ledger: ledger, machine: machine, loop: loop,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let error = await #expect(throws: VMError.self) { try await network.reconcile() }
        #expect(error?.description == "no port" && machine.cards.isEmpty)
        machine.failAdditions(nil)
        try await network.reconcile()
        #expect(machine.cards.count == 1)
        await network.close()
    }

    /// A network of a sandbox in a namespace, with what it logs.
    private func network(_ namespace: NetworkNamespace, _ ledger: Ledger, _ machine: FakeVirtualMachine) throws
        -> (SandboxNetwork, LogLines)
    {
        let lines = LogLines()
        let network = SandboxNetwork(
            try settings(namespace), namespace: namespace, ledger: ledger, machine: machine, loop: loop,
            log: Logger(label: "test") { _ in CollectedLog(lines: lines) })
        return (network, lines)
    }

    @Test(
        "an agent that takes a whole network gets one message, also for a change; one with old features is refused what it can't take"
    )
    func wholeNetwork() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let guest = try FakeGuest()
        let (network, _) = try network(namespace, ledger, try await machine())
        let connection = try await RPCClient.connect(socket: guest.agent.host, on: loop)
        let client = AgentServiceClient(client: connection)
        await network.connect(client, features: AgentFeature.all)
        try await network.reconcile()
        #expect(guest.calls == ["UpdateNetwork"])
        try await within(namespace) {
            try NetlinkSocket().add(Rule(isIPv6: false, priority: 7, table: 100))
        }
        try await network.reconcile()
        try await network.reconcile()
        #expect(guest.calls == ["UpdateNetwork", "UpdateNetwork"])
        // A failure in the guest is an error, and the state is sent again.
        try await within(namespace) { try NetlinkSocket().add(Rule(isIPv6: false, priority: 8, table: 100)) }
        guest.refuse("UpdateNetwork", RPCError(.failedPrecondition, "no way"))
        let error = await #expect(throws: NetworkError.self) { try await network.reconcile() }
        #expect(error?.description == "in the guest: no way")
        // A pod that runs with it gets its containers all the same.
        try await network.reconcile()
        guest.accept("UpdateNetwork")
        try await network.reconcile()
        #expect(guest.calls.count == 5)
        await network.connect(client, features: [])
        try await within(namespace) { try NetlinkSocket().add(Rule(isIPv6: false, priority: 9, table: 100)) }
        let refusal = await #expect(throws: NetworkError.self) { try await network.reconcile() }
        #expect(refusal?.description.contains("rule 7: from all lookup 100") == true && guest.calls.count == 5)
        await network.close()
        await connection.close()
    }

    @Test("a link that can't be carried is reported once, and others are followed")
    func oneBadLink() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let machine = try await machine()
        let (network, lines) = try network(namespace, ledger, machine)
        try namespace.shell(
            """
            ip link add vpn0 type vxlan id 3 remote 10.1.0.9 dstport 4789
            ip addr add 10.9.9.9/24 dev vpn0; ip link set vpn0 up
            """)
        try await network.reconcile()
        try namespace.shell(
            "ip link add eth1 type veth peer name p1; ip addr add 10.3.0.2/24 dev eth1; ip link set eth1 up")
        try await network.reconcile()
        #expect(machine.cards == ["net0", "net1"])
        #expect(lines.all.filter { $0.contains("vpn0") }.count == 1)
        #expect(await network.faults.map(\.listed.name) == ["vpn0"])
        // A card that fails is an error once; then the rest is followed.
        machine.failAdditions(VMError("no port"))
        try namespace.shell(
            "ip link add eth2 type veth peer name p2; ip addr add 10.4.0.2/24 dev eth2; ip link set eth2 up")
        await #expect(throws: VMError.self) { try await network.reconcile() }
        try namespace.shell("ip link del eth1")
        try await network.reconcile()
        #expect(machine.cards == ["net0"])
        #expect(await network.faults.map(\.name).sorted() == ["eth2", "vpn0"])
        machine.failAdditions(nil)
        try await network.reconcile()
        #expect(machine.cards.count == 2)
        #expect(await network.faults.map(\.name) == ["vpn0"])
        // The last address that the guest could have goes.
        try namespace.shell("ip link del eth0; ip link del eth2")
        let refusal = await #expect(throws: NetworkError.self) { try await network.reconcile() }
        #expect(refusal?.description.hasPrefix("link vpn0 (vxlan) is a tunnel") == true)
        await network.close()
    }

    @Test("two links with one hardware address are two cards")
    func sameHardwareAddress() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let machine = try await machine()
        let (network, _) = try network(namespace, ledger, machine)
        try namespace.shell(
            """
            ip link add eth1 type veth peer name p1; ip addr add 10.3.0.2/24 dev eth1
            for i in 0 1; do ip link set eth$i down; ip link set eth$i address 02:00:00:00:00:07; ip link set eth$i up; done
            """)
        try await network.reconcile()
        #expect(machine.cards == ["net0", "net1"])
        // Kata's own agent would take the one for the other.
        let (connection, guest) = try await connectKata(network)
        let refusal = await #expect(throws: NetworkError.self) { try await network.reconcile() }
        #expect(refusal?.description.hasSuffix("links eth0 and eth1 with one hardware address") == true)
        #expect(guest.calls.isEmpty)
        await network.close()
        await connection.close()
    }

    /// Connects an agent without our features.
    private func connectKata(_ network: SandboxNetwork) async throws -> (RPCClient, FakeGuest) {
        let guest = try FakeGuest()
        let connection = try await RPCClient.connect(socket: guest.agent.host, on: loop)
        await network.connect(AgentServiceClient(client: connection), features: [])
        return (connection, guest)
    }

    @Test("Kata's own agent gets a further link alone, and none without an address")
    func kataAgent() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let (network, _) = try network(namespace, ledger, try await machine())
        let (connection, guest) = try await connectKata(network)
        try await network.reconcile()
        try await within(namespace) { try Self.addLink("eth1", "10.3.0.2/24", NetlinkSocket()) }
        try namespace.shell("ip link add eth2 type veth peer name p2; ip link set p2 netns 1; ip link set eth2 up")
        try await network.reconcile()
        #expect(guest.calls.count { $0 == "UpdateInterface" } == 2)
        await network.close()
        await connection.close()
    }

    @Test("a link that fails is tried again for a container, not for its own tap's changes")
    func noEndlessTries() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let machine = try await machine()
        machine.failAdditions(VMError("no port"))
        let (network, _) = try network(namespace, ledger, machine)
        try await network.watch()
        await #expect(throws: (any Error).self) { try await network.reconcile() }
        let tries = machine.tries
        try await Task.sleep(for: .milliseconds(400))
        #expect(machine.tries == tries)
        machine.failAdditions(nil)
        try await network.reconcile()
        #expect(machine.cards.count == 1)
        await network.close()
    }

    @Test("after the close nothing is added any more")
    func closed() async throws {
        let (namespace, scratch) = (try namespace(), Scratch())
        let ledger = try Ledger.begin(in: scratch.path + "/s")
        defer { ledger.end() }
        let machine = try await machine()
        let network = SandboxNetwork(
            try settings(namespace), namespace: namespace, ledger: ledger, machine: machine, loop: loop,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        await network.close()
        try await network.reconcile()
        #expect(machine.cards.isEmpty)
    }
}
