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
    "The network of a sandbox", .enabled(if: getuid() == 0, "network namespaces need root"), .timeLimit(.minutes(1)))
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
        await network.connect(AgentServiceClient(client: connection))
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
