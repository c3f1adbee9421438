import AgentAPI
import Cleanup
import EventLoop
import FoundationEssentials
import Glibc
import Hypervisor
import LinuxKernel
import Logging
import Network
import Storage
import Streams
import TTRPC
import VhostUser

extension Sandbox {
    /// Starts device, share and VMM side by side, then waits for the guest to announce itself.
    package func boot() async throws {
        guard state == .empty else { throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not empty") }
        state = .booting
        var phases = Phases()
        do {
            try makeGroups()
            try enterGroups()
            try makeShare()
            relay = try StreamRelay()
            let logs = try BoundedLogs()
            self.logs = logs
            let device: any GuestDialer =
                if let guest = plan.machine.hostVsockCID { try KernelDialer(guest: guest, loop: loop) } else {
                    try VsockDevice(socketPath: paths.vsock)
                }
            dialer = device
            try await groupsEntered()
            share = try VirtioFSDaemon.start(
                plan.share, socketPath: paths.virtiofs, directory: paths.exported,
                log: try logs.open(paths.shareLog, limit: 64 << 10)
            ) { [ledger, groups] process throws(SystemError) in
                try ledger.add(.process(id: process, name: "virtiofsd"))
                HostGroups.preferAsVictims([process.pid])
                try groups?.helpers.add(process.pid)
            }
            share.map(watch)
            phases.end("share")
            let namespace = try await plan.network.namespace.open()
            let machine = try await startMachine(in: namespace)
            self.machine = machine
            phases.end("vmm")
            watch(machine)
            // Somebody ended the sandbox meanwhile, without this machine.
            guard state == .booting else {
                machine.kill()
                throw SandboxError(.wrongState, "sandbox \(id) was stopped while it started")
            }
            network = network(in: namespace, of: machine)
            // Ends when the guest answers, when its time is over, or at once when the VMM ends: that closes the device.
            async let dialled = device.dial(port: 1024, timeout: plan.dialTimeout)
            // Beside the boot: what the namespace holds already is there when the guest's kernel looks. A refusal ends the wait.
            do { try await network?.follow() } catch {
                device.close()
                throw error
            }
            let socket = try await dialled
            phases.end("guest")
            let connection = try await RPCClient.connect(
                socket: socket, limits: .agent { [limits] in limits.reached($0, $1) }, on: loop)
            self.connection = connection
            try await join(AgentServiceClient(client: connection), by: device)
            phases.end("setup")
            log.info("the guest is up", metadata: phases.metadata)
        } catch {
            let reason = await explain(error)
            await stop()
            throw reason
        }
    }

    /// nil where the sandbox has no namespace.
    func network(in namespace: NetworkNamespace?, of machine: QEMUVirtualMachine) -> SandboxNetwork? {
        namespace.map {
            SandboxNetwork(plan.network, namespace: $0, ledger: ledger, machine: machine, loop: loop, log: log)
        }
    }

    /// The guest answers: it becomes this sandbox's.
    func join(_ agent: AgentServiceClient, by device: any GuestDialer) async throws {
        try await createSandbox(agent)
        await network?.connect(agent)
        try await network?.follow()
        try await network?.watch()
        try await groupsEntered()
        if plan.debugConsole { debugConsole = try DebugConsoleDoor(paths.debugConsole, dialer: device, loop: loop) }
        state = .ready
        connection?.closed.whenComplete { [weak self, executor] _ in
            Task(executorPreference: executor) { await self?.agentEnded() }
        }
    }

    func watch(_ share: VirtioFSDaemon) {
        Task(executorPreference: executor) { [weak self] in
            let end = await share.waitForExit()
            await self?.shareEnded(end)
        }
    }

    /// Where a start's time goes, for the log (`make bench` draws it).
    private struct Phases {
        private(set) var metadata: Logger.Metadata = [:]
        private var began = ContinuousClock.now

        mutating func end(_ name: String) {
            let now = ContinuousClock.now
            metadata[name + "_ms"] = "\(Int((now - began) / .milliseconds(1)))"
            began = now
        }
    }

    func watch(_ machine: QEMUVirtualMachine) {
        Task(executorPreference: executor) { [weak self] in
            let end = await machine.waitForExit()
            await self?.machineEnded("\(end)")
        }
    }

    /// A guest without its files can only fail, at whatever it does next: it ends now, for a reason that is told.
    private func shareEnded(_ end: ProcessExit) async {
        // It ends with its machine too, and may be heard of first.
        if end == .exited(0) { try? await sleep(Deadline.exitAfterShare.limit, on: loop) }
        // It may have brought QEMU to its end; what we end because its machine has ended is no reason.
        guard state == .booting || state == .ready, machine?.end == nil || end.isFailure else { return }
        let cause = groups?.helpersLackOfMemory
        loss = "virtiofsd, which serves the guest its files, \(end)" + (cause.map { ": " + $0 } ?? "")
        log.error(
            "the guest has lost its files",
            metadata: ["sandbox": "\(id)", "virtiofsd": "\(end)", "cause": "\(cause ?? "")"])
        machine?.kill()
    }

    /// Nothing in a guest without its agent can be steered or waited for any more.
    private func agentEnded() async {
        // Where the machine has ended, that is heard of in a moment.
        try? await sleep(Deadline.exitAfterAgent.limit, on: loop)
        guard state == .ready, let machine, machine.end == nil else { return }
        loss = "the guest's agent has ended"
        log.error("the guest's agent has ended, and its machine is", metadata: ["console": "\(lastWords(machine))"])
        machine.kill()
    }

    func machineEnded(_ end: String) {
        guard state != .gone else { return }
        if state != .stopping {
            let cause = groups?.machine.hasKilledForMemory == true ? "a control group's limit of memory" : ""
            log.error(
                "the virtual machine ended", metadata: ["sandbox": "\(id)", "end": "\(end)", "cause": "\(cause)"])
        }
        dialer?.close()
        share?.stop()
        for process in containers.values.flatMap(\.processes.values) { process.end(status: 137) }
    }

    /// The directory that the guest sees, and behind it the one in which the host mounts.
    private func makeShare() throws {
        try ledger.add(.directory(path: paths.shareParent))
        try Files.makeDirectory(paths.shareParent)
        // Below that closed door everyone may pass: users of a container are not root.
        for directory in [paths.mounts, paths.exported] { try Files.makeDirectory(directory, mode: 0o755) }
        try ledger.add(.mount(path: paths.exported, namespace: Mounts.namespace))
        // A guest that could write here could put a link where the host mounts next. What is mounted there comes here by propagation,
        // and keeps its own permission to write.
        try Mounts.lend(paths.mounts, at: paths.exported, readOnly: true)
        try Mounts.mount("none", at: paths.exported, flags: UInt(MS_SLAVE))
    }

    func createSandbox(_ agent: AgentServiceClient) async throws {
        var request = Grpc_CreateSandboxRequest()
        request.hostname = plan.hostname
        request.sandboxID = id
        request.guestHookPath = plan.guestHookPath
        if origin != .spare {
            var storage = Grpc_Storage()
            storage.driver = "virtio-fs"
            storage.source = GuestPaths.shareTag
            storage.fstype = "virtiofs"
            storage.mountPoint = GuestPaths.share
            request.storages = [storage]
        }
        let time = timeOfDay()
        var clock = Grpc_SetGuestDateTimeRequest()
        clock.sec = Int64(time.tv_sec)
        clock.usec = Int64(time.tv_nsec / 1000)
        // Side by side: none needs another's answer.
        let (wanted, told) = (request, clock)
        async let created = agent.createSandbox(wanted, timeout: Deadline.setup.limit)
        if origin != .booted {
            // Clones of one template would draw the same numbers; for one that has waited, its numbers begin with its owner.
            var seed = Grpc_ReseedRandomDevRequest()
            seed.data = Data((0..<64).map { _ in UInt8.random(in: .min ... .max) })
            _ = try await agent.reseedRandomDev(seed, timeout: Deadline.details.limit)
        }
        async let set = try? agent.setGuestDateTime(told, timeout: Deadline.details.limit)
        var question = Grpc_GuestDetailsRequest()
        question.memBlockSize = true
        let asked = question
        async let details = try? agent.getGuestDetails(asked, timeout: Deadline.details.limit)
        _ = try await created
        _ = await set
        guard let details = await details else { return }
        agentFeatures = AgentFeature.known(in: details.agentDetails.extraFeatures)
        // From a hostile guest, any number.
        let block = details.memBlockSizeBytes >> 20
        if (2...4096).contains(block) { memoryBlockMiB = Int(block) }
    }
}
