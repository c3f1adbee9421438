import AgentAPI
import CLinux
import Configuration
import EventLoop
import FoundationEssentials
import Glibc
import Hypervisor
import Linux
import Logging
import NIOCore
import Network
import OCISpec
import Storage
import SwiftProtobuf
import TTRPC
import VhostUser

/// One VM and the containers in it: empty → booting → ready → stopping → gone.
package actor Sandbox {
    package enum State: String, Sendable { case empty, booting, ready, stopping, gone }

    package nonisolated let id: String
    package nonisolated let paths: SandboxPaths
    private nonisolated let executor: LoopExecutor
    private nonisolated let loop: any EventLoop
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let plan: SandboxPlan
    private let log: Logger
    package private(set) var state = State.empty

    private var dialer: (any GuestDialer)?
    private var machine: QEMUVirtualMachine?
    private var share: VirtioFSDaemon?
    private var network: SandboxNetwork?
    private var connection: RPCClient?
    private var relay: StreamRelay?
    private var containers: [String: Container] = [:]
    private var lastPort: UInt32 = 2000
    /// What the agent says it can do beside the API (AgentFeature).
    private var agentFeatures: [String] = []

    package init(plan: SandboxPlan, loop: any EventLoop, log: Logger) {
        id = plan.paths.sandbox
        paths = plan.paths
        self.plan = plan
        self.loop = loop
        self.log = log
        executor = LoopExecutor(loop)
    }

    /// The VMM's pid: the one a manager sees for every process of the sandbox.
    package var pid: Int32 { machine?.pid ?? 0 }

    // MARK: Life of the VM

    /// Starts device, share and VMM side by side, then waits for the guest to announce itself.
    package func boot() async throws {
        guard state == .empty else { throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not empty") }
        state = .booting
        do {
            try Files.makeDirectory(paths.machine)
            try Files.makeDirectory(paths.shareParent)
            // Below that closed door everyone may pass: users of a container are not root.
            try Files.makeDirectory(paths.share, mode: 0o755)
            relay = try StreamRelay()
            let device: any GuestDialer =
                if let guest = plan.machine.hostVsockCID { try KernelDialer(guest: guest, loop: loop) } else {
                    try VsockDevice(socketPath: paths.vsock)
                }
            dialer = device
            share = try VirtioFSDaemon.start(
                plan.share, socketPath: paths.virtiofs, directory: paths.share,
                logFile: paths.machine + "/virtiofsd.log")
            var configuration = plan.machine
            let namespace = try await plan.network.namespace.open()
            configuration.networkNamespace = namespace?.path
            let machine = try await QEMUVirtualMachine.start(configuration, qmpSocket: paths.qmp, on: loop)
            self.machine = machine
            watch(machine)
            network = namespace.map {
                SandboxNetwork(
                    plan.network, namespace: $0, ledger: paths.networkLedger, machine: machine, loop: loop, log: log)
            }
            // Ends when the guest answers, when its time is over, or at once when the VMM ends: that closes the device.
            async let dialled = device.dial(port: 1024, timeout: plan.dialTimeout)
            // Beside the boot: what the namespace holds already is there when the guest's kernel looks. A refusal ends the wait.
            do { try await network?.follow() } catch {
                device.close()
                throw error
            }
            let socket = try await dialled
            let connection = try await RPCClient.connect(socket: socket, on: loop)
            self.connection = connection
            let agent = AgentServiceClient(client: connection)
            try await createSandbox(agent)
            await network?.connect(agent)
            try await network?.follow()
            await network?.watch()
            state = .ready
        } catch {
            let reason = explain(error)
            await stop()
            throw reason
        }
    }

    private func watch(_ machine: QEMUVirtualMachine) {
        Task(executorPreference: executor) { [weak self] in
            let end = await machine.waitForExit()
            await self?.machineEnded("\(end)")
        }
    }

    private func machineEnded(_ end: String) {
        guard state != .gone else { return }
        if state != .stopping {
            log.error("the virtual machine ended", metadata: ["sandbox": "\(id)", "end": "\(end)"])
        }
        dialer?.close()
        for process in containers.values.flatMap(\.processes.values) { process.end(status: 137) }
    }

    /// Why there is no guest: what the VMM said, what the guest's console said last.
    private func explain(_ error: any Error) -> SandboxError {
        // The host's own affair: no word of the guest helps.
        guard let machine, !(error is NetworkError) else { return SandboxError(.host, "\(error)") }
        var reason = "\(error)"
        if let end = machine.end, state != .stopping { reason = "the virtual machine ended: QEMU \(end)" }
        let complaints = machine.complaints()
        if !complaints.isEmpty { reason += "; QEMU said: " + complaints.joined(separator: " | ") }
        return SandboxError(.guest, "the guest of sandbox \(id) did not come up: \(reason); \(lastWords(machine))")
    }

    private func lastWords(_ machine: QEMUVirtualMachine) -> String {
        let console = machine.consoleTail(lines: 8)
        return console.isEmpty
            ? "the guest wrote nothing to its console"
            : "the guest's console ends with: " + console.joined(separator: " | ")
    }

    /// A broken connection says nothing: the guest that broke it does.
    private func explainLoss(_ error: any Error, _ task: String) async -> any Error {
        guard let failure = error as? RPCError, failure.code == .unavailable, let machine else { return error }
        let deadline = ContinuousClock.now + .seconds(2)
        while machine.end == nil, ContinuousClock.now < deadline { try? await sleep(.milliseconds(20), on: loop) }
        let state = machine.end.map { "the virtual machine ended (QEMU \($0))" } ?? "the agent broke its connection"
        return SandboxError(.guest, "\(task): \(state); \(lastWords(machine))")
    }

    private func createSandbox(_ agent: AgentServiceClient) async throws {
        var request = Grpc_CreateSandboxRequest()
        request.hostname = plan.hostname
        request.sandboxID = id
        request.guestHookPath = plan.guestHookPath
        var storage = Grpc_Storage()
        storage.driver = "virtio-fs"
        storage.source = GuestPaths.shareTag
        storage.fstype = "virtiofs"
        storage.mountPoint = GuestPaths.share
        storage.options = ["nodev"]
        request.storages = [storage]
        let time = timeOfDay()
        var clock = Grpc_SetGuestDateTimeRequest()
        clock.sec = Int64(time.tv_sec)
        clock.usec = Int64(time.tv_nsec / 1000)
        // Side by side: none needs another's answer.
        let (wanted, told) = (request, clock)
        async let created = agent.createSandbox(wanted, timeout: .seconds(30))
        async let set = try? agent.setGuestDateTime(told, timeout: .seconds(10))
        async let details = try? agent.getGuestDetails(Grpc_GuestDetailsRequest(), timeout: .seconds(10))
        _ = try await created
        _ = await set
        agentFeatures = await details?.agentDetails.extraFeatures ?? []
    }

    /// Ends the VM and removes everything of the sandbox from the host. Idempotent.
    package func stop() async {
        guard state != .gone, state != .stopping else { return }
        state = .stopping
        var grace = Duration.zero
        if let connection {
            let agent = AgentServiceClient(client: connection)
            // A guest that has answered has unmounted and written everything: nothing is left that its power-off could do.
            let answer = try? await agent.destroySandbox(Grpc_DestroySandboxRequest(), timeout: .seconds(2))
            grace = answer == nil ? .seconds(1) : .zero
            await connection.close()
        }
        await machine?.stop(timeout: grace)
        await network?.close()
        share?.stop()
        dialer?.close()
        relay?.stop()
        for container in containers.values { container.unmount() }
        Mounts.detach(paths.share)
        Files.removeTree(paths.machine)
        Files.removeTree(paths.shareParent)
        state = .gone
    }

    // MARK: Containers

    private func agent() throws -> AgentServiceClient {
        guard state == .ready, let connection else {
            throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not ready")
        }
        return AgentServiceClient(client: connection)
    }

    /// A process as it stands now.
    package func report(container: String, exec: String = "") throws -> ProcessReport {
        let record = try self.container(container)
        let process = try record.process(exec)
        return ProcessReport(
            bundle: record.bundle, streams: process.streams, state: process.state, paused: record.paused,
            ended: process.ended)
    }

    private func container(_ id: String) throws -> Container {
        guard let container = containers[id] else { throw SandboxError(.notFound, "container \(id) does not exist") }
        return container
    }

    package var isEmpty: Bool { containers.isEmpty }

    /// - Parameter process: stands for the container on the host; the machine's where nil.
    package func createContainer(
        _ container: String, bundle: String, rootfs: String, spec: Spec, streams: StreamPaths, process: Int32? = nil
    ) async throws {
        guard containers[container] == nil else {
            throw SandboxError(.alreadyExists, "container \(container) exists already")
        }
        let agent = try agent()
        let guest = try plan.guestSpec(spec, container: container, bundle: bundle)
        if guest.droppedDevices > 0 {
            log.info(
                "\(guest.droppedDevices) devices of the host are not in the guest",
                metadata: ["container": "\(container)"])
        }
        let record = Container(
            id: container, bundle: bundle, streams: streams,
            hooks: HostHooks(spec, container: container, bundle: bundle, pid: process ?? pid))
        // From here on the name is taken: another call for it must not touch these mounts.
        containers[container] = record
        do {
            let shared = paths.sharedRootfs(of: container)
            try Files.makeDirectory(shared, mode: 0o755)
            record.mounts.append(shared)
            try Mounts.bind(rootfs, at: shared)
            for share in guest.shares { try mount(share, for: record) }
            var request = Grpc_CreateContainerRequest()
            request.containerID = container
            request.execID = container
            request.sandboxPidns = guest.sharesProcesses
            if agentFeatures.contains(AgentFeature.specJSON) {
                request.specJson = Data(guest.spec.json())
            } else {
                request.oci = try Grpc_Spec(checking: guest.spec, source: bundle + "/config.json")
            }
            try await record.hooks.beforeCreation()
            // A manager's hook may have moved links into the namespace, and have written who resolves names there.
            if let path = spec.mounts?.last(where: { $0.destination == "/etc/resolv.conf" })?.source,
                let text = try? Files.readText(path), NameRelay.isNeeded(by: text), let dialer, let relay
            {
                try await network?.relayNames(dialer, relay)
            }
            try await network?.follow()
            let ports = try prepare(record.initial)
            request.stdinPort = ports.stdin
            request.stdoutPort = ports.stdout
            request.stderrPort = ports.stderr
            let asked = ContinuousClock.now
            do { _ = try await agent.createContainer(request, timeout: plan.createTimeout) } catch {
                ports.cancel()
                throw await explainLoss(error, "create container \(container)")
            }
            record.creation = ContinuousClock.now - asked
        } catch {
            record.unmount()
            containers[container] = nil
            throw error
        }
    }

    private func mount(_ share: GuestSpec.Share, for container: Container) throws {
        if Files.isDirectory(share.source) {
            try Files.makeDirectory(share.exported, mode: 0o755)
        } else {
            guard Files.exists(share.source) else { throw SystemError("share", share.source, errno: ENOENT) }
            try Files.write(share.exported, "")
        }
        // Before the mount: one that fails half-way (read-only is a second call) is undone too.
        container.mounts.append(share.exported)
        try Mounts.bind(share.source, at: share.exported, readOnly: share.readOnly)
    }

    package func start(container: String, exec: String = "") async throws {
        let record = try self.container(container)
        let process = try record.process(exec)
        guard process.state == .created else {
            throw SandboxError(
                .wrongState, "process of container \(container) is \(process.state.rawValue), not created")
        }
        let agent = try agent()
        let asked = ContinuousClock.now
        if exec.isEmpty {
            // Others give the links between create and start.
            try await network?.follow()
            var request = Grpc_StartContainerRequest()
            request.containerID = container
            _ = try await agent.startContainer(request, timeout: .seconds(60))
        } else {
            var request = Grpc_ExecProcessRequest()
            request.containerID = container
            request.execID = exec
            if var specification = process.specification {
                specification.keepHostProfiles(guestSELinux: plan.guestSELinux)
                if agentFeatures.contains(AgentFeature.specJSON) {
                    request.processJson = Data(specification.json())
                } else {
                    request.process = Grpc_Process(specification)
                }
            }
            let ports = try prepare(process)
            request.stdinPort = ports.stdin
            request.stdoutPort = ports.stdout
            request.stderrPort = ports.stderr
            do { _ = try await agent.execProcess(request, timeout: .seconds(60)) } catch {
                ports.cancel()
                throw error
            }
        }
        process.state = .running
        // What the guest took, apart from what the host and its manager did.
        let start = ContinuousClock.now - asked
        log.info(
            "process runs",
            metadata: [
                "container": "\(container)", "exec": "\(exec)", "start_ms": "\(Int(start / .milliseconds(1)))",
                "create_ms": "\(exec.isEmpty ? Int(record.creation / .milliseconds(1)) : 0)",
            ])
        if exec.isEmpty { await record.hooks.afterStart(log) }
        Task(executorPreference: executor) { [weak self] in
            var request = Grpc_WaitProcessRequest()
            request.containerID = container
            request.execID = exec.isEmpty ? container : exec
            // A wait that is lost means that the guest is lost, and with it the process: killed.
            let status = (try? await agent.waitProcess(request, timeout: nil).status) ?? 137
            await self?.ended(process, status)
        }
    }

    private func ended(_ process: ContainerProcess, _ status: Int32) async {
        await drained(process.outputs, quiet: .milliseconds(100), limit: .seconds(2), on: loop)
        process.endInput(relay)
        process.end(status: status)
    }

    package func addExec(container: String, exec: String, process: OCISpec.Process, streams: StreamPaths) throws {
        let record = try self.container(container)
        guard record.processes[exec] == nil else {
            throw SandboxError(.alreadyExists, "process \(exec) of container \(container) exists already")
        }
        guard record.initial.state == .running else {
            throw SandboxError(.wrongState, "container \(container) is \(record.initial.state.rawValue), not running")
        }
        guard !record.paused else {
            throw SandboxError(.wrongState, "container \(container) is paused; resume it first")
        }
        record.processes[exec] = ContainerProcess(id: exec, streams: streams, specification: process)
    }

    package func wait(container: String, exec: String = "") async throws -> (status: Int32, at: timespec) {
        await (try self.container(container).process(exec)).waitForEnd()
    }

    package func signal(_ number: Int32, container: String, exec: String = "", all: Bool = false) async throws {
        let record = try self.container(container)
        let process = try record.process(exec)
        if process.state == .stopped {
            if number == SIGKILL || number == SIGTERM { return }
            throw SandboxError(.notFound, "process of container \(container) has ended already")
        }
        if process.state == .created, number == SIGKILL || number == SIGTERM, exec.isEmpty {
            process.end(status: 128 + number)
        }
        var request = Grpc_SignalProcessRequest()
        request.containerID = container
        request.execID = all ? "" : (exec.isEmpty ? container : exec)
        request.signal = UInt32(number)
        _ = try await agent().signalProcess(request, timeout: .seconds(10))
    }

    package func resize(container: String, exec: String, rows: UInt32, columns: UInt32) async throws {
        var request = Grpc_TtyWinResizeRequest()
        request.containerID = container
        request.execID = exec.isEmpty ? container : exec
        request.row = rows
        request.column = columns
        _ = try await agent().ttyWinResize(request, timeout: .seconds(10))
    }

    /// The manager writes no more. What is in its fifo still goes in: the relay meets the end of file behind it, as the
    /// manager's end is closed by now (containerd closes the fifo before it calls CloseIO).
    package func closeInput(container: String, exec: String) throws {
        _ = try self.container(container).process(exec)
    }

    package func pause(container: String) async throws {
        let record = try self.container(container)
        var request = Grpc_PauseContainerRequest()
        request.containerID = container
        _ = try await agent().pauseContainer(request, timeout: .seconds(10))
        record.paused = true
    }

    package func resume(container: String) async throws {
        let record = try self.container(container)
        var request = Grpc_ResumeContainerRequest()
        request.containerID = container
        _ = try await agent().resumeContainer(request, timeout: .seconds(10))
        record.paused = false
    }

    package func stats(container: String) async throws -> Grpc_StatsContainerResponse {
        var request = Grpc_StatsContainerRequest()
        request.containerID = container
        return try await agent().statsContainer(request, timeout: .seconds(10))
    }

    /// Sets new limits of a running container.
    package func update(container: String, resources: OCISpec.Linux.Resources) async throws {
        _ = try self.container(container)
        var request = Grpc_UpdateContainerRequest()
        request.containerID = container
        var resources = resources
        resources.cpu?.cpus = nil
        resources.cpu?.mems = nil
        if agentFeatures.contains(AgentFeature.specJSON) {
            request.resourcesJson = Data(resources.json())
        } else {
            request.resources = Grpc_LinuxResources(resources)
        }
        _ = try await agent().updateContainer(request, timeout: .seconds(10))
    }

    /// Waits until the kernel of the guest has killed in a container for want of memory. Returns the container's id.
    /// - Throws: when the guest has gone.
    package func nextOutOfMemory() async throws -> String {
        try await agent().getOOMEvent(Grpc_GetOOMEventRequest(), timeout: nil).containerID
    }

    /// Hands a call to the agent unread.
    package func ask(agent method: String, _ payload: [UInt8]) async throws -> [UInt8] {
        try await agent().client.call(AgentServiceClient.serviceName, method, payload: payload, timeout: .seconds(30))
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
            if let agent = try? agent() { _ = try? await agent.removeContainer(request, timeout: .seconds(15)) }
            record.unmount()
            containers[container] = nil
            await record.hooks.afterDeletion(log)
        } else {
            record.processes[exec] = nil
        }
        return end
    }

    // MARK: Streams

    /// Reserves a host port for each stream that leads somewhere; the agent connects to it before the process starts.
    private func prepare(_ process: ContainerProcess) throws -> ReservedStreams {
        guard let dialer, let relay else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        let streams = ReservedStreams(dialer)
        do {
            let paths = process.streams
            if !paths.stdin.isEmpty {
                streams.stdin = try streams.reserve(nextPort(), try HostStream.openInput(paths.stdin)) {
                    input, socket in
                    process.connected(input: relay.connect(from: input, to: socket))
                }
            }
            func output(_ path: String) throws -> UInt32 {
                try streams.reserve(nextPort(), try HostStream.openOutput(path)) { output, socket in
                    process.connected(output: relay.connect(from: socket, to: output))
                }
            }
            if !paths.stdout.isEmpty { streams.stdout = try output(paths.stdout) }
            if !paths.stderr.isEmpty, !paths.terminal { streams.stderr = try output(paths.stderr) }
            return streams
        } catch {
            streams.cancel()
            throw error
        }
    }

    private func nextPort() -> UInt32 {
        lastPort &+= 1
        return lastPort
    }
}
