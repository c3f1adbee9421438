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
    private var agent: GuestNetworkClient?

    private var cards: [Card] = []
    private let ledger: Ledger
    private var lastNumber = -1
    /// The state that the agent received last; nil when the guest may have another.
    private var lastSent: NetworkPlan?
    /// The links that the guest doesn't get, with their reasons.
    package private(set) var faults: [LinkFault] = []
    /// Keys of lines that were logged: each is logged once.
    private var reported: Set<String> = []
    /// Links whose last try has failed.
    private var failures: [(endpoint: NetworkPlan.Endpoint, fault: LinkFault)] = []
    /// The agent's last answer to a state that it could not take whole.
    private var lastRefusal: NetworkError?
    private var turns = SerialQueue()
    private var isClosed = false
    /// Ends the thread that waits for changes when it is closed.
    private var watcher: Pipe?
    private var resolver: NameResolver?
    /// The failure of the last change, which is logged once.
    private var lastProblem: String?

    package init(
        _ plan: NetworkSettings, namespace: NetworkNamespace, ledger: Ledger, machine: any VirtualMachine,
        loop: any EventLoop, log: Logger
    ) {
        (self.plan, self.namespace, self.ledger, self.machine) = (plan, namespace, ledger, machine)
        (self.loop, self.log) = (loop, log)
        executor = LoopExecutor(loop)
    }

    /// A link that the guest has.
    private struct Card {
        let attachment: Attachment
        /// The card's PCI path in the guest.
        let place: String
        /// The record that gives the link back after a crash.
        let record: Ledger.RecordID?

        var endpoint: NetworkPlan.Endpoint { attachment.endpoint }
    }

    /// Sends changes to the guest from now on.
    /// - Parameter features: those that the agent has announced (`AgentFeature`).
    package func connect(_ agent: AgentServiceClient, features: [String]) {
        self.agent = GuestNetworkClient(agent: agent, takesAll: features.contains(AgentFeature.wholeNetwork))
    }

    /// Brings the guest to the present state of the namespace. Calls run one after the other.
    ///
    /// One link's failure doesn't stop the others.
    /// - Throws: the first failure that was not there before; also when the guest would have no address at all.
    package func reconcile() async throws { try await reconcile(triesAgain: true) }

    /// - Parameter triesAgain: also links that have failed and have not changed since. A try is a change itself, which
    ///   the kernel reports: one that follows from such a report would never end.
    private func reconcile(triesAgain: Bool) async throws {
        let turn = turns.take(on: executor) { try await self.apply(triesAgain) }
        try await turn.value
    }

    private func apply(_ triesAgain: Bool) async throws {
        guard !isClosed else { return }
        let (model, present) = (plan.model, cards.map(\.attachment))
        let view = try await inNamespace { try NetworkView(NetlinkSocket()).without(present) }
        let wanted = NetworkPlan(view, model: model)
        var failure: (any Error)?
        for card in cards where !wanted.endpoints.contains(where: card.endpoint.isSameCard) {
            do { try await remove(card) } catch { failure = failure ?? error }
        }
        let before = failures
        failures = []
        for endpoint in wanted.endpoints where !cards.contains(where: { $0.endpoint.isSameCard(as: endpoint) }) {
            if !triesAgain, let known = before.first(where: { $0.endpoint == endpoint }) {
                failures.append(known)
                continue
            }
            do { try await add(endpoint) } catch {
                let fault = LinkFault(endpoint, error)
                failures.append((endpoint, fault))
                if fault.hasAddress, !reported.contains(fault.key) { failure = failure ?? error }
            }
        }
        let carried =
            failures.isEmpty ? wanted : NetworkPlan(view, model: model, failed: failures.map(\.fault))
        report(carried)
        do {
            try await send(carried)
            lastRefusal = nil
        } catch let refusal as NetworkError {
            // A pod that runs with it goes on.
            if refusal != lastRefusal { failure = failure ?? refusal }
            lastRefusal = refusal
        } catch { failure = failure ?? error }
        if let failure = failure ?? carried.refusal { throw failure }
    }

    /// Logs what the guest doesn't get: each thing once.
    private func report(_ plan: NetworkPlan) {
        faults = plan.faults
        var lines = plan.faults.map { (key: $0.key, line: $0.description) }
        let others = plan.omissions + (agent?.takesAll == false ? plan.beyondKata.named : [])
        lines += others.map { (key: $0, line: $0) }
        reported.formIntersection(lines.map(\.key))
        for (key, line) in lines where reported.insert(key).inserted {
            log.warning("not given to the guest", metadata: ["thing": "\(line)"])
        }
    }

    private func add(_ endpoint: NetworkPlan.Endpoint) async throws {
        if let reason = machine.unavailableReason(for: .network) {
            throw NetworkError("link \(endpoint.name): \(reason)")
        }
        lastNumber += 1
        let (number, queues, resolver) = (lastNumber, plan.queues, resolver != nil)
        let record = try await inNamespace { try Attachment.Record(endpoint, number: number) }
        var written = try write(record)
        do {
            let attachment = try await inNamespace {
                try Attachment.make(endpoint, record, queues: queues, resolver: resolver)
            }
            do {
                // The record now names the tap too.
                let first = written
                written = try write(attachment.record)
                if let first { ledger.forget(first) }
                let place = try await machine.add(
                    NetworkDevice(
                        id: attachment.device, hardwareAddress: endpoint.hardwareAddress.description,
                        queues: attachment.queues, vhost: plan.vhost))
                cards.append(Card(attachment: attachment, place: place, record: written))
            } catch {
                try? await inNamespace { attachment.undo() }
                throw error
            }
        } catch {
            if let written { ledger.forget(written) }
            throw error
        }
        forget(endpoint)
        log.info("link given to the guest", metadata: ["link": "\(endpoint.name)", "kind": "\(endpoint.kind)"])
    }

    /// Writes to the ledger how to give a link back. A namespace that the sandbox made removes its links itself; only one
    /// that outlives the sandbox needs a record.
    private func write(_ record: Attachment.Record) throws -> Ledger.RecordID? {
        guard case .path(let path) = plan.namespace else { return nil }
        return try ledger.add(.link(record: record, namespace: path, identity: namespace.identity))
    }

    private func remove(_ card: Card) async throws {
        cards.removeAll { $0.attachment.device == card.attachment.device }
        forget(card.endpoint)
        try? await inNamespace { card.attachment.undo() }
        if let record = card.record { ledger.forget(record) }
        try await machine.removeNetworkDevice(card.attachment.device)
        log.info("link taken from the guest", metadata: ["link": "\(card.endpoint.name)"])
    }

    /// Notes that the guest has another card for a link, or none.
    private func forget(_ endpoint: NetworkPlan.Endpoint) {
        // Kata's agent sets a link anew that it gets again.
        lastSent = agent?.takesAll == false ? lastSent?.without(endpoint.link) : nil
    }

    private func send(_ wanted: NetworkPlan) async throws {
        guard let agent, wanted != lastSent else { return }
        let places = Dictionary(cards.map { ($0.endpoint.link, $0.place) }) { first, _ in first }
        let before = lastSent
        // After a failure the guest may have a part of it.
        lastSent = nil
        if !agent.takesAll, let refused = wanted.beyondKata.refused.first {
            throw NetworkError("the guest's agent can't take a part of the network namespace: \(refused)")
        }
        try await agent.send(wanted, places: places, before: before ?? .empty)
        lastSent = wanted
    }

    // MARK: Names

    /// Lets the guest ask the namespace's own resolver.
    /// - Throws: `SystemError` when the thread can't be started, the channel can't listen, or rtnetlink refuses a
    ///   filter.
    package func relayNames(_ channel: any GuestChannel, _ relay: StreamRelay, limits: LimitLog) async throws {
        guard resolver == nil else { return }
        let resolver = try NameResolver(NameRelay.address, NameRelay.port, in: namespace, relay: relay, limits: limits)
        self.resolver = resolver
        try channel.listen(port: NameRelay.datagrams) { resolver.serve(datagrams: $0) }
        try channel.listen(port: NameRelay.connections) { resolver.serve(connection: $0) }
        let present = cards.map(\.attachment)
        try await inNamespace { for attachment in present { try attachment.allowResolverReplies() } }
    }

    // MARK: Changes

    /// Watches the namespace until `close`. Changes come in bursts: a link is made, named, addressed, raised.
    /// - Throws: `SystemError` when the host can't start the thread.
    package func watch() throws(SystemError) {
        guard watcher == nil, !isClosed, let pipe = try? Pipe() else { return }
        guard let end = try? pipe.readEnd.duplicate().take() else { return }
        watcher = consume pipe
        try startThread("network") { [namespace, weak self] in
            let stop = FileDescriptor(owning: end)
            guard (try? namespace.enter()) != nil, let monitor = try? NetworkMonitor(.all)
            else { return }
            while (try? monitor.wait(until: nil, stop: stop.raw)) == true {
                let latest = ContinuousClock.now + Deadline.burst.limit * Self.maxChangesInBurst
                while .now < latest, (try? monitor.wait(until: .now + Deadline.burst.limit, stop: stop.raw)) == true {}
                self?.changed()
            }
        }
    }

    /// After as many pauses' time a burst without end is followed all the same.
    private static let maxChangesInBurst = 20

    private nonisolated func changed() {
        Task(executorPreference: executor) { await self.follow() }
    }

    private func follow() async {
        do {
            try await reconcile(triesAgain: false)
            lastProblem = nil
        } catch {
            guard lastProblem != "\(error)" else { return }
            lastProblem = "\(error)"
            log.warning("a change of the network namespace did not reach the guest", metadata: ["error": "\(error)"])
        }
    }

    /// Gives the links back to the namespace.
    package func close() async {
        isClosed = true
        watcher = nil
        resolver?.close()
        await turns.finished()
        let attachments = cards.map(\.attachment)
        try? await inNamespace { for attachment in attachments { attachment.undo() } }
        for card in cards { if let record = card.record { ledger.forget(record) } }
        cards = []
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
