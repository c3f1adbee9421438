import AgentAPI
import Cleanup
import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec
import TTRPC

extension Sandbox {
    /// Takes a container's name before it is created, before there is a machine even: from now on a manager may ask for it, wait
    /// for its end, and end it.
    package func reserve(_ container: String, bundle: String, streams: StreamPaths) throws {
        guard containers[container] == nil else {
            throw SandboxError(.alreadyExists, "container \(container) exists already")
        }
        containers[container] = Container(id: container, bundle: bundle, streams: streams)
    }

    /// Gives the name back: nothing came of it.
    package func release(_ container: String) {
        guard let record = containers.removeValue(forKey: container) else { return }
        takeAway(record)
        record.initial.end(status: 128 + SIGKILL)
    }

    /// Creates a container whose name is reserved; the caller releases it when this fails.
    /// - Parameters:
    ///   - process: stands for the container on the host; the machine's where nil.
    ///   - joins: by kind of namespace, the container of this sandbox whose it is.
    ///   - made: what the caller has made for it on the host; it goes with the container, also when that can't be created.
    package func createContainer(
        _ container: String, bundle: String, rootfs: RootSource, spec: Spec, process: Int32? = nil,
        joins: [String: String] = [:], made: [Ledger.RecordID] = []
    ) async throws {
        guard let record = containers[container], record.initial.ended == nil else {
            for number in made.reversed() { ledger.undo(number) }
            throw SandboxError(.notFound, "container \(container) was ended before it was created")
        }
        record.made = made
        record.process = process
        record.resolverConfiguration = spec.mounts?.last { $0.destination == "/etc/resolv.conf" }?.source
        record.hooks = HostHooks(spec, container: container, bundle: bundle, pid: process ?? pid, paths: paths)
        record.demand = Demand(spec.linux?.resources)
        record.identities = ContainerIdentities(
            IDMaps(spec, joined: joins["user"].flatMap { containers[$0]?.identities.maps }))
        if let process = spec.process { record.identities.give("", process) }
        let agent = try agent()
        var rootDisk: DiskImage?
        if case .disk(let image) = rootfs { rootDisk = image }
        var guest = try plan.guestSpec(
            spec, container: container, bundle: bundle, rootDisk: rootDisk, joins: joins)
        if guest.droppedDevices > 0 {
            log.info(
                "\(guest.droppedDevices) devices of the host are not in the guest",
                metadata: ["container": "\(container)"])
        }
        if !guest.droppedMounts.isEmpty {
            log.warning(
                "mounts left out: they are devices of the host, or lie among the files of the guest's own kernel",
                metadata: ["container": "\(container)", "mounts": "\(guest.droppedMounts)"])
        }
        for warning in spec.process?.warnings(at: "process.") ?? [] {
            log.warning("\(warning)", metadata: ["container": "\(container)"])
        }
        do {
            if let process {
                try groups?.machine.add(process)
                try follow(process, of: container)
            }
            if case .directory(let path) = rootfs {
                let shared = paths.sharedRootfs(of: container)
                record.made.append(try ledger.add(.directory(path: paths.mounts + "/" + container)))
                try mount(
                    GuestSpec.Share(source: path, mounted: shared, readOnly: false, recursive: true), for: record)
            }
            guest = try show(guest, for: record)
            var request = Grpc_CreateContainerRequest()
            request.containerID = container
            request.execID = container
            request.sandboxPidns = guest.sharesProcesses
            if agentFeatures.contains(AgentFeature.specJSON) {
                request.specJson = Data(guest.spec.json())
            } else {
                request.oci = try Grpc_Spec(checking: guest.spec, source: bundle + "/config.json")
            }
            try await record.hooks?.beforeCreation(network: network?.namespace.path)
            // A manager's hook may have moved links into the namespace.
            try await network?.follow()
            try await fitMachine()
            (request.devices, request.storages) = try await attach(guest.disks, for: record)
            request.storages += guest.memories.map(\.storage)
            request.storages += try offer(guest.sockets, for: record)
            let ports = try prepare(record.initial)
            request.stdinPort = ports.stdin
            request.stdoutPort = ports.stdout
            request.stderrPort = ports.stderr
            let asked = ContinuousClock.now
            do { _ = try await agent.createContainer(request, timeout: plan.createTimeout) } catch {
                ports.cancel()
                throw await explainLoss(inHostsWords(error, guest), "create container \(container)")
            }
            record.creation = ContinuousClock.now - asked
        } catch {
            withdrawSockets(of: record)
            await releaseDisks(of: record)
            takeAway(record)
            await record.hooks?.afterDeletion(log)
            record.hooks = nil
            throw error
        }
    }

    /// The agent's refusal, without paths that its reader doesn't know.
    private func inHostsWords(_ error: any Error, _ guest: GuestSpec) -> any Error {
        guard let error = error as? RPCError else { return error }
        return RPCError(error.code, guest.inHostsWords(error.message, paths: paths))
    }

    /// Who kills the process that stands for a container on the host means the container.
    private func follow(_ process: Int32, of container: String) throws {
        guard let standIn = ProcessIdentity(process) else { return }
        try standIn.whenEnded { [weak self, executor] in
            Task(executorPreference: executor) { await self?.standInEnded(container) }
        }
    }

    private func standInEnded(_ container: String) async {
        guard let process = containers[container]?.initial, process.ended == nil else { return }
        try? await signal(SIGKILL, container: container, all: true)
    }

    package func pause(container: String) async throws {
        let record = try self.container(container)
        guard record.initial.state == .running, !record.paused else {
            let state = record.paused ? "paused" : record.initial.state.rawValue
            throw SandboxError(.wrongState, "container \(container) is \(state), not running")
        }
        var request = Grpc_PauseContainerRequest()
        request.containerID = container
        _ = try await agent().pauseContainer(request, timeout: Deadline.change.limit)
        record.paused = true
    }

    package func resume(container: String) async throws {
        let record = try self.container(container)
        guard record.paused else { throw SandboxError(.wrongState, "container \(container) is not paused") }
        var request = Grpc_ResumeContainerRequest()
        request.containerID = container
        _ = try await agent().resumeContainer(request, timeout: Deadline.change.limit)
        record.paused = false
    }

    package func stats(container: String) async throws -> Grpc_StatsContainerResponse {
        var request = Grpc_StatsContainerRequest()
        request.containerID = container
        return try await agent().statsContainer(request, timeout: Deadline.change.limit)
    }

    /// Sets new limits of a running container.
    package func update(container: String, resources: OCISpec.Linux.Resources) async throws {
        let record = try self.container(container)
        let before = record.demand
        record.demand = before.updated(by: resources)
        do {
            // What a higher limit promises is there before it holds.
            if record.demand != before { try await fitMachine() }
            if containers.count == 1 { try limitGroup(resources.cpu?.cpus, resources.cpu?.mems, resources.cpu?.shares) }
            try await tellGuest(resources, of: container)
        } catch {
            record.demand = before
            throw error
        }
    }

    private func tellGuest(_ resources: OCISpec.Linux.Resources, of container: String) async throws {
        var request = Grpc_UpdateContainerRequest()
        request.containerID = container
        var resources = resources
        resources.cpu?.cpus = nil
        resources.cpu?.mems = nil
        if agentFeatures.contains(AgentFeature.specJSON) {
            request.resourcesJson = Data(resources.json())
        } else {
            request.resources = try Grpc_LinuxResources(checking: resources, source: "resources")
        }
        _ = try await agent().updateContainer(request, timeout: Deadline.change.limit)
    }

    /// Hands a call to the agent unread.
    package func ask(agent method: String, _ payload: [UInt8]) async throws -> [UInt8] {
        try await agent().client.call(
            AgentServiceClient.serviceName, method, payload: payload, timeout: Deadline.question.limit)
    }

    /// Forgets an ended process; for a container's first process, the whole container.
    package func delete(container: String, exec: String = "") async throws -> (status: Int32, at: timespec) {
        let record = try self.container(container)
        let process = try record.process(exec)
        guard process.state != .running else {
            throw SandboxError(.wrongState, "container \(container) is running; stop it first")
        }
        let end = process.ended ?? (0, timespec())
        if exec.isEmpty {
            var request = Grpc_RemoveContainerRequest()
            request.containerID = container
            request.timeout = 10
            let removal = request
            if let agent = try? agent() {
                _ = try? await ask(agent, within: Deadline.removal.limit) {
                    try await $0.removeContainer(removal, timeout: $1)
                }
            }
            withdrawSockets(of: record)
            takeAway(record)
            containers[container] = nil
            for process in record.processes.values { giveUp(process) }
            await releaseDisks(of: record)
            // What it had is given back; the last one takes the machine with it.
            if !containers.isEmpty { try? await fitMachine() }
            await record.hooks?.afterDeletion(log)
        } else {
            record.processes[exec] = nil
            giveUp(process)
        }
        return end
    }
}
