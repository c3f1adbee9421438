import AgentAPI
import Channel
import Configuration
import EventLoop
import FoundationEssentials
import Hypervisor
import LinuxKernel
import Logging
import Network
import Share
import TTRPC

/// A sandbox's transition from empty to ready.
extension Sandbox {
    /// Boots or clones a machine and returns when the guest is set up.
    /// - Throws: `SandboxError` with the stage, the likely cause and the console's tail. The sandbox has ended then.
    package func boot() async throws {
        try await start(FreshMachine()) {
            try binding.make(ledger)
            try binding.enter([], on: loop)
            try sharedPaths.export()
            if !plan.guestModules.isEmpty { try shareModules() }
            try await cgroupsEntered()
        }
    }

    /// Takes the machine of a warm sandbox, in place of `boot()`.
    /// - Throws: as `boot()`.
    package func takeOver(_ warm: WarmSandbox) async throws {
        try await start(WarmMachine(warm: warm)) { try binding.make(ledger) }
    }

    private func start(_ source: some MachineSource, prepare: () async throws -> Void) async throws {
        guard state == .empty else { throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not empty") }
        state = .booting
        do {
            try plan.standalone?.files?.write(for: paths)
            try await prepare()
            let namespace = try await plan.network.namespace.open()
            let start = MachineStart(
                plan, ledger: ledger, beginning: beginning, limits: limits, log: log, loop: loop,
                cgroups: binding.cgroups,
                networkNamespace: namespace?.path,
                fileServerStarted: { [weak self] server in self?.watch(server) },
                vmStarted: { [weak self] vm, origin in try await self?.machineStarted(vm, origin, namespace) })
            self.start = start
            try stillStarting()
            var machine = try await source.acquire(start)
            try await setUp(&machine)
            try stillStarting()
            self.machine = machine
            state = .ready
            machine.connection.closed.whenComplete { [weak self, executor] _ in
                Task(executorPreference: executor) { await self?.agentEnded() }
            }
        } catch {
            let reason = state == .booting ? await explain(error) : stoppedWhileStarting
            if state == .booting { endsWith(ProcessExit.killed.status) }
            await stop()
            throw reason
        }
    }

    private func shareModules() throws {
        do { try sharedPaths.share(plan.guestModules, as: GuestPaths.modulesName) } catch {
            throw SandboxError(.invalid, "\(Keys.guestModules.path): \(error)")
        }
    }

    func stillStarting() throws(SandboxError) {
        guard state == .booting else { throw stoppedWhileStarting }
    }

    private var stoppedWhileStarting: SandboxError {
        SandboxError(.wrongState, "sandbox \(id) was stopped while it started")
    }

    private func machineStarted(
        _ vm: any VirtualMachine, _ origin: RunningMachine.Origin, _ namespace: NetworkNamespace?
    ) async throws {
        watch(vm)
        // The file server may have ended before there was a machine to end with it.
        if let loss { throw SandboxError(.guest, loss) }
        network = namespace.map {
            SandboxNetwork(plan.network, namespace: $0, ledger: ledger, machine: vm, loop: loop, log: log)
        }
        if origin == .warm {
            // Its processes are in no cgroup of this sandbox yet. The guest gets its links after the agent is
            // connected.
            try binding.enter([vm.pid] + parts.serverProcesses, on: loop)
        } else {
            // During the guest's boot: its kernel then finds the namespace's links when it probes devices.
            try await network?.reconcile()
        }
    }

    private func setUp(_ machine: inout RunningMachine) async throws {
        try await createGuestSandbox(&machine)
        await network?.connect(machine.agent, features: machine.agentFeatures)
        try await network?.reconcile()
        try await network?.watch()
        try await cgroupsEntered()
        try await setUpStandalone(machine)
        forwardPorts(machine)
        if plan.debugConsole {
            debugConsole = try DebugConsoleSocket(paths.debugConsole, channel: machine.channel, loop: loop)
        }
    }

    // MARK: The guest's sandbox

    /// Configures the guest through its agent.
    func createGuestSandbox(_ machine: inout RunningMachine) async throws {
        let agent = machine.agent
        let (request, clock) = (sandboxRequest(machine.origin), clockRequest())
        // In parallel: the calls don't depend on each other.
        async let created = agent.createSandbox(request, timeout: Deadline.setup.limit)
        if machine.origin != .booted { try await reseed(agent) }
        async let set = try? agent.setGuestDateTime(clock, timeout: Deadline.details.limit)
        let question = Grpc_GuestDetailsRequest.with { $0.memBlockSize = true }
        async let details = try? agent.getGuestDetails(question, timeout: Deadline.details.limit)
        _ = try await created
        _ = await set
        guard let details = await details else { return }
        machine.agentFeatures = AgentFeature.known(in: details.agentDetails.extraFeatures)
        // A hostile guest may send any number.
        let block = details.memBlockSizeBytes >> 20
        if Self.memoryBlocks.contains(block) { machine.memoryBlockMiB = Int(block) }
    }

    /// Valid sizes of a guest's memory blocks, in MiB.
    private static let memoryBlocks: ClosedRange<UInt64> = 2...4096

    private func sandboxRequest(_ origin: RunningMachine.Origin) -> Grpc_CreateSandboxRequest {
        var request = Grpc_CreateSandboxRequest()
        request.hostname = plan.hostname
        request.sandboxID = id
        request.guestHookPath = plan.guestHookPath
        request.sandboxPidns = plan.standalone != nil
        request.kernelModules = plan.kernelModules.map { words in
            let words = words.split(separator: " ").map(String.init)
            return .with { ($0.name, $0.parameters) = (words.first ?? "", Array(words.dropFirst())) }
        }
        // A warm guest has mounted its share already.
        if origin != .warm {
            var storage = Grpc_Storage()
            storage.driver = plan.share.driver
            storage.source = plan.machine.shareTag
            storage.fstype = plan.share.fileSystemType
            storage.mountPoint = GuestPaths.share
            request.storages = [storage]
        }
        return request
    }

    private func clockRequest() -> Grpc_SetGuestDateTimeRequest {
        let time = timeOfDay()
        var request = Grpc_SetGuestDateTimeRequest()
        request.sec = Int64(time.tv_sec)
        request.usec = Int64(time.tv_nsec / 1000)
        return request
    }

    /// Reseeds the guest's random numbers: clones of one template would draw the same ones.
    private func reseed(_ agent: AgentServiceClient) async throws {
        var seed = Grpc_ReseedRandomDevRequest()
        seed.data = Data((0..<Self.seedBytes).map { _ in UInt8.random(in: .min ... .max) })
        _ = try await agent.reseedRandomDev(seed, timeout: Deadline.details.limit)
    }

    private static let seedBytes = 64

    /// Hands the machine over: this sandbox has nothing to end any more.
    func giveMachine() throws -> RunningMachine {
        guard state == .ready, let machine, machine.vm.exit == nil else {
            throw SandboxError(.guest, "the warm machine of sandbox \(id) has ended")
        }
        (self.machine, start, state) = (nil, nil, .gone)
        return machine
    }
}
