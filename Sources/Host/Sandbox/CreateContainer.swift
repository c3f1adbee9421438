import AgentAPI
import Cleanup
import FoundationEssentials
import Glibc
import GuestSpec
import LinuxKernel
import OCISpec
import Pod
import Share
import SocketForward
import Stdio
import Storage
import TTRPC

/// A manager's request for a container.
package struct ContainerRequest: Sendable {
    package let key: ContainerKey
    package var id: String { key.id }
    package let bundle: String
    package let rootfs: RootSource
    package internal(set) var spec: Spec
    /// Pid of the attach process; nil under containerd: the sandbox makes a placeholder.
    package var attachProcess: Int32?
    /// Pid of the process that asks for the container, in whose mount namespace paths are looked up; nil: in this
    /// process's.
    package var manager: Int32?
    /// Resource limits of the caller, where the specification names none; nil: the guest's.
    package var limits: ResourceLimits?
    /// For each type of namespace to join, the container of this sandbox that has it.
    package var joins: [String: String] = [:]
    /// Records of what the caller has made for the container on the host. They are undone with it, even when its
    /// creation fails.
    package var made: [Ledger.RecordID] = []

    /// - Parameter key: what `reserve` has returned.
    package init(
        _ key: ContainerKey, bundle: String, rootfs: RootSource, spec: Spec, attachProcess: Int32? = nil,
        manager: Int32? = nil, limits: ResourceLimits? = nil, joins: [String: String] = [:],
        made: [Ledger.RecordID] = []
    ) {
        (self.key, self.bundle, self.rootfs, self.spec) = (key, bundle, rootfs, spec)
        (self.attachProcess, self.manager, self.limits) = (attachProcess, manager ?? attachProcess, limits)
        (self.joins, self.made) = (joins, made)
    }
}

extension Sandbox {
    /// Reserves a container's name before it is created, even before a machine exists. From now on a manager may
    /// query it, wait for its end, and end it.
    /// - Returns: the container's identity. Its creator goes by that: a manager may delete the container at any time,
    ///   and another one may get the name.
    /// - Throws: `SandboxError` (`alreadyExists`) where the name is in use.
    @discardableResult
    package func reserve(_ container: String, bundle: String, streams: StreamPaths) throws -> ContainerKey {
        guard containers[container] == nil else {
            throw SandboxError(.alreadyExists, "container \(container) exists already")
        }
        guard !heldNames.contains(container) else {
            throw SandboxError(.alreadyExists, "an earlier container \(container) is still being removed")
        }
        lastContainer += 1
        let key = ContainerKey(id: container, number: lastContainer)
        containers[container] = Container(key, bundle: bundle, streams: streams)
        return key
    }

    /// Frees a reserved name after the creation has failed. A deletion that has begun does so itself.
    package func release(_ key: ContainerKey) async {
        guard let record = present(key) else { return }
        if let removal = record.removal { return await removal.wait() }
        let removal = OneShot<Void>()
        record.removal = removal
        defer { removal.complete(()) }
        releaseShares(of: record)
        await removeHostProcess(of: record)
        containers[key.id] = nil
        record.initial.end(status: ProcessExit.killed.status)
    }

    /// Plans a container whose name is reserved. Nothing is started: what can be refused is refused here, before a
    /// machine boots for it. What the request has made on the host is the container's from now on.
    /// - Throws: `SandboxError` (`notFound`) for a container that was ended meanwhile, `SpecError` for a request that
    ///   can't be met. `SystemError` when the manager's mounts can't be read.
    package func prepare(_ request: ContainerRequest) throws {
        var request = request
        if let standalone = plan.standalone {
            let source = request.bundle + "/config.json"
            request.spec = try standalone.completing(request.spec, paths, source: source)
        }
        guard let record = present(request.key), record.removal == nil, record.initial.ended == nil else {
            for made in request.made.reversed() { ledger.undo(made) }
            throw SandboxError(.notFound, "container \(request.id) was ended before it was created")
        }
        describe(record, request)
        record.view = try managerView(request)
        let guest = try guestSpec(request, record.view)
        report(guest, request)
        for used in guest.memories { memory.use(used, for: &record.memories) }
        record.prepared = (request, guest)
    }

    /// Plans and creates a container whose name is reserved, with no other container's plan in between: what one shares
    /// with the guest, the next one must know.
    /// - Returns: as `create` of a prepared one.
    /// - Throws: as `prepare` and `create` of a prepared one.
    @discardableResult
    package func create(_ request: ContainerRequest) async throws -> Int32 {
        try prepare(request)
        return try await create(request.key)
    }

    /// Creates a container that is prepared; the caller releases the name when this fails.
    /// - Returns: the pid that managers see.
    /// - Throws: `SandboxError` and `SocketForwardError` for a request that can't be met. `RPCError` with the agent's
    ///   refusal. `HookError`. `SystemError` and `ShareError` of a path that can't be shared, or the first failure of
    ///   the network.
    @discardableResult
    package func create(_ key: ContainerKey) async throws -> Int32 {
        let container = key.id
        guard let record = present(key), record.removal == nil, record.initial.ended == nil,
            let (request, guest) = record.prepared
        else { throw SandboxError(.notFound, "container \(container) was ended before it was created") }
        record.prepared = nil
        let creating = OneShot<Void>()
        record.creating = creating
        defer { creating.complete(()) }
        let agent = try agent()
        return try await withUndo { undo in
            undo.add { await self.releaseShares(of: key) }
            let move = try makeHostProcess(for: record, request)
            record.hooks = HostHooks(
                request.spec, container: container, bundle: request.bundle, pid: pid(of: record), paths: paths)
            let guest = try share(guest, request, for: record)
            record.view = nil
            undo.add { await self.runLastHooks(of: key) }
            try await record.hooks?.beforeCreation(network: network?.namespace.path)
            // A manager's hook may have moved links into the namespace.
            try await network?.reconcile()
            try followProcessorSets()
            try await resizeMachine()
            if binding.isBound { bindProcessorTime() }
            undo.add { await self.releaseDisks(of: key) }
            let (devices, disks) = try await attach(guest.disks, for: record)
            undo.add { await self.withdrawSockets(of: key) }
            let sockets = try offer(guest.sockets, for: record)
            let ports = try prepare(record.initial)
            var message = try agentRequest(request, guest, ports)
            message.plainNewlines = record.initial.streams.plainNewlines
            (message.devices, message.storages) = (devices, disks + guest.memoryStorages + sockets)
            let asked = ContinuousClock.now
            do { try await createInGuest(message, agent) } catch {
                ports.cancel()
                record.initial.closeStreams(parts.relay)
                throw await explainLoss(translated(error, guest), "create container \(container)")
            }
            record.creation = ContinuousClock.now - asked
            record.isInGuest = true
            try await entered(move, container)
            return pid(of: record)
        }
    }

    /// Directories in which this process mounts for the sandbox.
    private var ownMounts: Set<String> {
        let roots = containers.values.filter(\.hasOwnRoot).map { $0.bundle + "/rootfs" }
        return Set(roots + [paths.shareParent, paths.machine])
    }

    /// The mounts of the request's manager; nil where this process sees the same ones. Also where the host doesn't let
    /// it look at those of another program that has called it.
    /// - Throws: `SystemError` when the mounts of an attach process can't be read.
    private func managerView(_ request: ContainerRequest) throws(SystemError) -> ManagerView? {
        guard let manager = request.manager else { return nil }
        do throws(SystemError) { return try ManagerView(of: manager, except: ownMounts) } catch {
            guard request.attachProcess == nil else { throw error }
            log.warning(
                "the manager's mounts can't be read: paths are those that the shim sees",
                metadata: ["container": "\(request.id)", "error": "\(error)"])
            return nil
        }
    }

    /// Notes settings of the specification in the container's record.
    private func describe(_ record: Container, _ request: ContainerRequest) {
        let spec = request.spec
        record.shares = SharedPaths.Use(own: request.made)
        record.attachProcess = request.attachProcess
        record.hasOwnRoot = !request.made.isEmpty
        record.outOfMemoryFile = OOMReports.file(of: request)
        record.resolverConfiguration = spec.mounts?.last { $0.destination == "/etc/resolv.conf" }?.source
        record.demand = Demand(spec.linux?.resources)
        record.identities = ContainerIdentities(
            IDMaps(spec, joined: request.joins["user"].flatMap { containers[$0]?.identities.maps }))
        if let process = spec.process { record.identities.give("", process) }
    }

    private func guestSpec(_ request: ContainerRequest, _ view: ManagerView?) throws -> GuestSpec {
        var rootDisk: DiskImage?
        if case .disk(let image) = request.rootfs { rootDisk = image }
        return try plan.guestSpec(
            request.spec, container: request.id, bundle: request.bundle, rootDisk: rootDisk, limits: request.limits,
            joins: request.joins, known: KnownMemory(inGuest: memory.known, shared: sharedPaths.devices), view: view)
    }

    /// Logs what the guest does not get.
    private func report(_ guest: GuestSpec, _ request: ContainerRequest) {
        if guest.droppedDevices > 0 {
            log.info(
                "devices of the host are not in the guest",
                metadata: ["container": "\(request.id)", "devices": "\(guest.droppedDevices)"])
        }
        if !guest.droppedMounts.isEmpty {
            log.warning(
                "mounts left out: they are devices of the host, or lie among the files of the guest's own kernel",
                metadata: ["container": "\(request.id)", "mounts": "\(guest.droppedMounts)"])
        }
        if !guest.closedMounts.isEmpty {
            log.warning(
                "read-only binds with many mounts below them: those are read-only too",
                metadata: ["container": "\(request.id)", "mounts": "\(guest.closedMounts)"])
        }
        for warning in request.spec.process?.warnings(at: "process.") ?? [] {
            log.warning(
                "config.json asks for something unusual",
                metadata: ["container": "\(request.id)", "warning": "\(warning)"])
        }
    }

    private func share(_ guest: GuestSpec, _ request: ContainerRequest, for record: Container) throws -> GuestSpec {
        if case .directory(let path) = request.rootfs {
            // The manager does not see a root file system that the shim has mounted itself.
            let view = request.made.isEmpty ? record.view : nil
            try sharedPaths.shareRoot(path, of: request.id, in: view, for: &record.shares)
        }
        return try sharedPaths.share(
            guest, in: record.view, servers: parts.serverProcesses, for: &record.shares)
    }

    private func agentRequest(_ request: ContainerRequest, _ guest: GuestSpec, _ ports: ReservedStreams) throws
        -> Grpc_CreateContainerRequest
    {
        var message = Grpc_CreateContainerRequest()
        message.containerID = request.id
        message.execID = request.id
        message.sandboxPidns = guest.sharesProcesses
        if hasFeature(AgentFeature.specJSON) {
            message.specJson = Data(guest.spec.json())
        } else {
            message.oci = try Grpc_Spec(checking: guest.spec, source: request.bundle + "/config.json")
        }
        if let limits = guestPodLimits { message.podLimits = limits }
        (message.stdinPort, message.stdoutPort, message.stderrPort) = (ports.stdin, ports.stdout, ports.stderr)
        return message
    }

    /// Translates the guest's paths in the agent's refusal to the host's.
    private func translated(_ error: any Error, _ guest: GuestSpec) -> any Error {
        guard let error = error as? RPCError else { return error }
        return RPCError(error.code, guest.translatePaths(in: error.message, paths: paths))
    }

    // MARK: Undo

    private func releaseShares(of key: ContainerKey) {
        if let record = present(key) { releaseShares(of: record) }
    }

    private func releaseShares(of record: Container) {
        sharedPaths.release(&record.shares, servers: parts.serverProcesses)
        memory.release(&record.memories)
    }

    private func runLastHooks(of key: ContainerKey) async {
        guard let record = present(key) else { return }
        await record.hooks?.afterDeletion(log)
        record.hooks = nil
    }

    private func releaseDisks(of key: ContainerKey) async {
        if let record = present(key) { await releaseDisks(of: record) }
    }

    private func withdrawSockets(of key: ContainerKey) {
        if let record = present(key) { withdrawSockets(of: record) }
    }
}
