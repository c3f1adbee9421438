import AgentAPI
import Cleanup
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import Logging
import NIOCore
import Netlink
import Network
import Streams

/// The network of a sandbox: what its namespace on the host holds, the guest has.
///
/// Links, addresses and routes travel one way. `follow` looks at the namespace, adds and takes away the guest's cards, and
/// tells the agent what changed; it is called when the machine starts, when the guest is up, before a container starts, and
/// whenever the kernel tells of a change.
actor SandboxNetwork {
    private nonisolated let executor: LoopExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let plan: SandboxPlan.Network
    private let loop: any EventLoop
    private let log: Logger
    nonisolated let namespace: NetworkNamespace
    private let machine: QEMUVirtualMachine
    private var agent: AgentServiceClient?

    private var attachments: [Attachment] = []
    private let ledger: Ledger
    /// The ledger's numbers of attachments, by theirs.
    private var written: [Int: Ledger.RecordID] = [:]
    private var lastNumber = -1
    /// What the agent knows.
    private var told = NetworkPlan.empty
    private var turns = SerialQueue()
    private var isClosed = false
    /// Closed, it ends the thread that hears of changes.
    private var watcher: Pipe?
    private var resolver: NameResolver?

    init(
        _ plan: SandboxPlan.Network, namespace: NetworkNamespace, ledger: Ledger, machine: QEMUVirtualMachine,
        loop: any EventLoop, log: Logger
    ) {
        (self.plan, self.namespace, self.ledger, self.machine) = (plan, namespace, ledger, machine)
        (self.loop, self.log) = (loop, log)
        executor = LoopExecutor(loop)
    }

    /// From now on the guest is told.
    func connect(_ agent: AgentServiceClient) { self.agent = agent }

    /// Brings the guest to what the namespace holds now. Calls take their turns.
    func follow() async throws {
        let turn = turns.take(on: executor) { try await self.pass() }
        try await turn.value
    }

    private func pass() async throws {
        guard !isClosed else { return }
        let model = plan.model
        let present = attachments
        let wanted = try await inNamespace {
            try NetworkPlan(NetworkView(NetlinkSocket()).without(present), model: model)
        }
        for attachment in attachments where !wanted.endpoints.contains(where: attachment.endpoint.isSameCard) {
            try await remove(attachment)
        }
        for endpoint in wanted.endpoints where !attachments.contains(where: { $0.endpoint.isSameCard(as: endpoint) }) {
            try await add(endpoint)
        }
        if let agent { try await tell(agent, wanted) }
    }

    private func add(_ endpoint: NetworkPlan.Endpoint) async throws {
        guard machine.hasFreePort else {
            throw NetworkError(
                "link \(endpoint.name): the machine has no free PCIe root port for it; raise hypervisor.qemu.pcie_root_port"
            )
        }
        lastNumber += 1
        let (number, queues, resolver) = (lastNumber, plan.queues, resolver != nil)
        // Only in a namespace that others keep: one of our own takes everything with it.
        if case .path(let path) = plan.namespace {
            written[number] = try ledger.add(
                .link(
                    record: Attachment.Record(endpoint, number: number), namespace: path, identity: namespace.identity))
        }
        let attachment: Attachment
        do {
            attachment = try await inNamespace {
                try Attachment.make(endpoint, number: number, queues: queues, resolver: resolver)
            }
            do {
                try await machine.add(
                    NetworkDevice(
                        id: "net\(number)", hardwareAddress: endpoint.hardwareAddress.description,
                        queues: attachment.queues, vhost: plan.vhost))
            } catch {
                try? await inNamespace { attachment.undo() }
                throw error
            }
        } catch {
            forget(number)
            throw error
        }
        attachments.append(attachment)
        log.info("link given to the guest", metadata: ["link": "\(endpoint.name)", "kind": "\(endpoint.kind)"])
    }

    private func remove(_ attachment: Attachment) async throws {
        attachments.removeAll { $0.number == attachment.number }
        defer { told = told.without(attachment.endpoint.link) }
        try? await inNamespace { attachment.undo() }
        forget(attachment.number)
        try await machine.removeNetworkDevice("net\(attachment.number)")
        log.info("link taken from the guest", metadata: ["link": "\(attachment.endpoint.name)"])
    }

    private func forget(_ number: Int) {
        if let line = written.removeValue(forKey: number) { ledger.forget(line) }
    }

    // MARK: What the agent is told

    private func tell(_ agent: AgentServiceClient, _ wanted: NetworkPlan) async throws {
        for endpoint in wanted.endpoints where !told.endpoints.contains(endpoint) {
            var request = Grpc_UpdateInterfaceRequest()
            request.interface = Types_Interface(endpoint)
            _ = try await agent.updateInterface(request, timeout: Deadline.network.limit)
        }
        let names = Dictionary(wanted.endpoints.map { ($0.link, $0.name) }) { first, _ in first }
        if wanted.routes != told.routes || wanted.endpoints != told.endpoints, !wanted.endpoints.isEmpty {
            var request = Grpc_UpdateRoutesRequest()
            request.routes.routes = wanted.routes.map { Types_Route($0, device: names[$0.link] ?? "") }
            _ = try await agent.updateRoutes(request, timeout: Deadline.network.limit)
        }
        let news = wanted.neighbors.filter { !told.neighbors.contains($0) }
        if !news.isEmpty {
            var request = Grpc_AddARPNeighborsRequest()
            request.neighbors.arpneighbors = news.map { Types_ARPNeighbor($0, device: names[$0.link] ?? "") }
            _ = try await agent.addARPNeighbors(request, timeout: Deadline.network.limit)
        }
        told = wanted
    }

    // MARK: Names

    /// Lets the guest ask the namespace's own resolver, where there is one for it.
    func relayNames(_ dialer: any GuestDialer, _ relay: StreamRelay) async throws {
        guard resolver == nil else { return }
        let resolver = try NameResolver(NameRelay.address, NameRelay.port, in: namespace, relay: relay)
        self.resolver = resolver
        try dialer.listen(port: NameRelay.datagrams) { resolver.serve(datagrams: $0) }
        try dialer.listen(port: NameRelay.connections) { resolver.serve(connection: $0) }
        let present = attachments
        try await inNamespace { for attachment in present { try attachment.letResolverHear() } }
    }

    // MARK: Changes

    /// Follows the namespace until `close`. Changes come in bursts: a link is made, named, addressed, raised.
    /// - Throws: where the host has no thread for it.
    func watch() throws(SystemError) {
        guard watcher == nil, !isClosed, let pipe = try? Pipe() else { return }
        guard let end = try? pipe.readEnd.duplicate().take() else { return }
        watcher = consume pipe
        try startThread("network") { [namespace, weak self] in
            let stop = FileDescriptor(owning: end)
            guard (try? namespace.enter()) != nil, let monitor = try? NetworkMonitor([.links, .addresses, .routes])
            else { return }
            while (try? monitor.wait(until: nil, stop: stop.raw)) == true {
                while (try? monitor.wait(until: .now + Deadline.burst.limit, stop: stop.raw)) == true {}
                self?.changed()
            }
        }
    }

    private nonisolated func changed() {
        Task(executorPreference: executor) {
            do { try await self.follow() } catch {
                self.log.warning("the guest could not follow a change of its network: \(error)")
            }
        }
    }

    /// Gives the links back.
    func close() async {
        isClosed = true
        watcher = nil
        resolver?.close()
        await turns.finished()
        let attachments = attachments
        try? await inNamespace { for attachment in attachments { attachment.undo() } }
        for attachment in attachments { forget(attachment.number) }
        self.attachments = []
    }

    /// On a thread of its own, which the namespace keeps to its end.
    private func inNamespace<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        let namespace = namespace
        return try await blocking("network") {
            try namespace.enter()
            return try body()
        }
    }
}

extension Types_Interface {
    init(_ endpoint: NetworkPlan.Endpoint) {
        self.init()
        device = endpoint.name
        name = endpoint.name
        hwAddr = endpoint.hardwareAddress.description
        mtu = UInt64(endpoint.mtu)
        type = endpoint.kind
        rawFlags = endpoint.flags
        ipaddresses = endpoint.addresses.map(Types_IPAddress.init)
    }
}
