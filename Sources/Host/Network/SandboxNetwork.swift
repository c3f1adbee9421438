import AgentAPI
import Channel
import Cleanup
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import Logging
import NIOCore
import Netlink
import Streams

/// The network of a sandbox: the guest mirrors the sandbox's network namespace on the host.
///
/// Links, addresses and routes travel one way. `reconcile` reads the namespace, adds and removes the guest's cards,
/// and sends the agent the changes. It is called when the machine starts, when the guest is ready, before a container
/// starts, and whenever the kernel reports a change.
package actor SandboxNetwork {
    private nonisolated let executor: LoopExecutor
    // SAFETY: the actor holds the executor as long as it lives.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private let plan: NetworkSettings
    private let loop: any EventLoop
    private let log: Logger
    package nonisolated let namespace: NetworkNamespace
    private let machine: any VirtualMachine
    private var agent: AgentServiceClient?

    private var attachments: [Attachment] = []
    private let ledger: Ledger
    /// The ledger's record of each attachment, by the attachment's number.
    private var written: [Int: Ledger.RecordID] = [:]
    private var lastNumber = -1
    /// The state that the agent received last.
    private var lastSent = NetworkPlan.empty
    private var turns = SerialQueue()
    private var isClosed = false
    /// Ends the thread that waits for changes when it is closed.
    private var watcher: Pipe?
    private var resolver: NameResolver?

    package init(
        _ plan: NetworkSettings, namespace: NetworkNamespace, ledger: Ledger, machine: any VirtualMachine,
        loop: any EventLoop, log: Logger
    ) {
        (self.plan, self.namespace, self.ledger, self.machine) = (plan, namespace, ledger, machine)
        (self.loop, self.log) = (loop, log)
        executor = LoopExecutor(loop)
    }

    /// Sends changes to the guest from now on.
    package func connect(_ agent: AgentServiceClient) { self.agent = agent }

    /// Brings the guest to the present state of the namespace. Calls run one after the other.
    package func reconcile() async throws {
        let turn = turns.take(on: executor) { try await self.apply() }
        try await turn.value
    }

    private func apply() async throws {
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
        if let agent { try await send(wanted, to: agent) }
    }

    private func add(_ endpoint: NetworkPlan.Endpoint) async throws {
        if let reason = machine.unavailableReason(for: .network) {
            throw NetworkError("link \(endpoint.name): \(reason)")
        }
        lastNumber += 1
        let (number, queues, resolver) = (lastNumber, plan.queues, resolver != nil)
        // A namespace that the sandbox made removes its links itself; only one that outlives the sandbox needs a
        // record.
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
        defer { lastSent = lastSent.without(attachment.endpoint.link) }
        try? await inNamespace { attachment.undo() }
        forget(attachment.number)
        try await machine.removeNetworkDevice("net\(attachment.number)")
        log.info("link taken from the guest", metadata: ["link": "\(attachment.endpoint.name)"])
    }

    private func forget(_ number: Int) {
        if let line = written.removeValue(forKey: number) { ledger.forget(line) }
    }

    // MARK: The agent

    private func send(_ wanted: NetworkPlan, to agent: AgentServiceClient) async throws {
        for endpoint in wanted.endpoints where !lastSent.endpoints.contains(endpoint) {
            var request = Grpc_UpdateInterfaceRequest()
            request.interface = Types_Interface(endpoint)
            _ = try await agent.updateInterface(request, timeout: Deadline.network.limit)
        }
        let names = Dictionary(wanted.endpoints.map { ($0.link, $0.name) }) { first, _ in first }
        if wanted.routes != lastSent.routes || wanted.endpoints != lastSent.endpoints, !wanted.endpoints.isEmpty {
            var request = Grpc_UpdateRoutesRequest()
            request.routes.routes = wanted.routes.map { Types_Route($0, device: names[$0.link] ?? "") }
            _ = try await agent.updateRoutes(request, timeout: Deadline.network.limit)
        }
        let news = wanted.neighbors.filter { !lastSent.neighbors.contains($0) }
        if !news.isEmpty {
            var request = Grpc_AddARPNeighborsRequest()
            request.neighbors.arpneighbors = news.map { Types_ARPNeighbor($0, device: names[$0.link] ?? "") }
            _ = try await agent.addARPNeighbors(request, timeout: Deadline.network.limit)
        }
        lastSent = wanted
    }

    // MARK: Names

    /// Lets the guest ask the namespace's own resolver.
    package func relayNames(_ channel: any GuestChannel, _ relay: StreamRelay) async throws {
        guard resolver == nil else { return }
        let resolver = try NameResolver(NameRelay.address, NameRelay.port, in: namespace, relay: relay)
        self.resolver = resolver
        try channel.listen(port: NameRelay.datagrams) { resolver.serve(datagrams: $0) }
        try channel.listen(port: NameRelay.connections) { resolver.serve(connection: $0) }
        let present = attachments
        try await inNamespace { for attachment in present { try attachment.allowResolverReplies() } }
    }

    // MARK: Changes

    /// Watches the namespace until `close`. Changes come in bursts: a link is made, named, addressed, raised.
    /// - Throws: when the host can't start the thread.
    package func watch() throws(SystemError) {
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
            do { try await self.reconcile() } catch {
                self.log.warning(
                    "a change of the network namespace did not reach the guest", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Gives the links back to the namespace.
    package func close() async {
        isClosed = true
        watcher = nil
        resolver?.close()
        await turns.finished()
        let attachments = attachments
        try? await inNamespace { for attachment in attachments { attachment.undo() } }
        for attachment in attachments { forget(attachment.number) }
        self.attachments = []
    }

    /// Runs `body` on a new thread in the namespace; the thread ends with it.
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
