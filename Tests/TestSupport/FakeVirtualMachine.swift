import EventLoop
import Hypervisor
import LinuxKernel
import Streams
import Synchronization

import protocol NIOCore.EventLoop

/// A hypervisor in the test's own process: its machines hold what they are given, and end when the test says so.
package final class FakeHypervisor: Hypervisor {
    private struct State: Sendable {
        var machines: [FakeVirtualMachine] = []
        var startError: VMError?
        var before: @Sendable (Step, VMConfiguration) async throws -> Void = { _, _ in }
    }
    private let state = Mutex(State())

    /// A step on a machine's way to its guest. Only clones have those after the first.
    package enum Step: Sendable { case start, load, connect, resume }

    package let capabilities: Capabilities
    package let acceleration = Acceleration(name: "fake", isHardware: true, reason: "a test")
    package let unusableReason: String? = nil
    package let name = "FakeVM"
    package let executable = "/usr/bin/fake-vm"
    package let ownMemoryMiB = 50
    /// Is called when a machine with devices has ended, as those would notice it.
    private let ended: @Sendable () -> Void

    package init(
        _ capabilities: Capabilities = Capabilities(
            hotPlug: Set(Capabilities.Device.allCases), hotUnplug: Set(Capabilities.Device.allCases),
            channels: [.hybridVsock], shares: [.virtioFS], hasSnapshots: true),
        ended: @escaping @Sendable () -> Void = {}
    ) {
        (self.capabilities, self.ended) = (capabilities, ended)
    }

    /// Lets each start fail.
    package func failStarts(_ error: VMError?) { state.withLock { $0.startError = error } }

    /// Is called before each step; what it throws fails the step.
    package func before(_ body: @escaping @Sendable (Step, VMConfiguration) async throws -> Void) {
        state.withLock { $0.before = body }
    }

    /// The machines that were started, in order.
    package var machines: [FakeVirtualMachine] { state.withLock { $0.machines } }

    package func start(
        _ configuration: VMConfiguration, logs: BoundedLogs, memory: Int32?, on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) async throws -> any VirtualMachine {
        let (error, before) = state.withLock { ($0.startError, $0.before) }
        if let error { throw error }
        try await before(.start, configuration)
        let machine = FakeVirtualMachine(
            configuration, capabilities, memory: try memory.map { try FileIdentity(descriptor: $0) }, before, ended)
        state.withLock { $0.machines.append(machine) }
        return machine
    }

    package func fingerprint(of configuration: VMConfiguration, helpers: [String], version: String) -> VMFingerprint {
        let machine = configuration.anonymous
        return VMFingerprint(version: version, arguments: ["\(machine)"] + helpers, booted: machine, programs: [])
    }

    package func cause(of failure: VMFailure, _ configuration: VMConfiguration) -> String? {
        failure.messages.contains("no memory") ? "give it memory" : nil
    }
}

/// A machine of the fake hypervisor.
package final class FakeVirtualMachine: VirtualMachine {
    private struct State: Sendable {
        var size: MachineSize
        var disks: [String] = []
        var cards: [String] = []
        var tries = 0
        var resizes = 0
        var console: [String] = []
        var stderr: [String] = []
        var isHalted = false
        var addError: VMError?
        var threads: [Int32] = []
        var stops: [Duration] = []
        /// Whether the machine has the sandbox's channel and share.
        var hasDevices: Bool
    }
    private let state: Mutex<State>
    private let exited = OneShot<ProcessExit>()
    private let before: @Sendable (FakeHypervisor.Step, VMConfiguration) async throws -> Void
    private let ended: @Sendable () -> Void
    /// The file that a clone has as its memory.
    package let memory: FileIdentity?
    package let configuration: VMConfiguration
    package let capabilities: Capabilities
    package let name = "FakeVM"
    /// No process has this number.
    package let pid: Int32 = 0x7fff_fff0

    init(
        _ configuration: VMConfiguration, _ capabilities: Capabilities, memory: FileIdentity?,
        _ before: @escaping @Sendable (FakeHypervisor.Step, VMConfiguration) async throws -> Void,
        _ ended: @escaping @Sendable () -> Void
    ) {
        (self.configuration, self.capabilities, self.memory) = (configuration, capabilities, memory)
        (self.before, self.ended) = (before, ended)
        state = Mutex(
            State(
                size: MachineSize(memoryMiB: configuration.memoryMiB, vcpus: configuration.vcpus),
                hasDevices: configuration.vsockSocket != nil || configuration.hostVsockCID != nil))
    }

    // MARK: The test's side

    /// Ends the machine as a crash does.
    package func end(_ exit: ProcessExit) {
        if exited.complete(exit), state.withLock({ $0.hasDevices }) { ended() }
    }
    package func write(console: [String] = [], stderr: [String] = []) {
        state.withLock { state in
            state.console += console
            state.stderr += stderr
        }
    }
    package func halt() { state.withLock { $0.isHalted = true } }
    /// Lets each addition of a device fail.
    package func failAdditions(_ error: VMError?) { state.withLock { $0.addError = error } }
    /// Gives the machine's processors threads of the host.
    package func run(on threads: [Int32]) { state.withLock { $0.threads = threads } }
    package var disks: [String] { state.withLock { $0.disks } }
    package var cards: [String] { state.withLock { $0.cards } }
    /// How often its memory was set.
    package var resizes: Int { state.withLock { $0.resizes } }
    /// How many cards it was to get.
    package var tries: Int { state.withLock { $0.tries } }
    /// The time that each `stop` gave the guest.
    package var stops: [Duration] { state.withLock { $0.stops } }

    // MARK: VirtualMachine

    package var exit: ProcessExit? { exited.value }
    package func waitForExit() async -> ProcessExit { await exited.wait() }
    package var isHalted: Bool { exit == nil && state.withLock { $0.isHalted } }
    package func kill() { end(.signalled(9)) }
    package func stop(timeout: Duration) async {
        state.withLock { $0.stops.append(timeout) }
        end(.exited(0))
    }

    package var size: MachineSize { state.withLock { $0.size } }
    package func processorThreads() async throws -> [Int32] { state.withLock { $0.threads } }
    package func setProcessors(_ count: Int) async throws {
        state.withLock {
            let lowest = capabilities.hotUnplug.contains(.processor) ? configuration.vcpus : $0.size.vcpus
            $0.size.vcpus = max(lowest, min(count, configuration.maxVCPUs))
        }
    }
    package func setMemory(_ mebibytes: Int, block: Int) async throws -> Bool {
        try failIfToldTo()
        state.withLock { state in
            state.size.memoryMiB = mebibytes
            state.resizes += 1
        }
        return true
    }

    package func unavailableReason(for device: Capabilities.Device) -> String? { nil }
    package func add(_ disk: Disk) async throws -> Disk.Place {
        try failIfToldTo()
        state.withLock { $0.disks.append(disk.id) }
        return .pci("0e/00")
    }
    package func removeDisk(_ id: String) async throws { state.withLock { $0.disks.removeAll { $0 == id } } }
    package func add(_ device: NetworkDevice) async throws -> String {
        state.withLock { $0.tries += 1 }
        try failIfToldTo()
        state.withLock { $0.cards.append(device.id) }
        return "0e/00"
    }
    package func removeNetworkDevice(_ id: String) async throws { state.withLock { $0.cards.removeAll { $0 == id } } }

    private func failIfToldTo() throws { if let error = state.withLock({ $0.addError }) { throw error } }

    package func saveState(to file: borrowing FileDescriptor, within limit: Duration) async throws {}
    package func loadState(from file: borrowing FileDescriptor, within limit: Duration) async throws {
        try await take(.load)
    }
    package func connect(_ configuration: VMConfiguration) async throws {
        try await take(.connect)
        state.withLock { $0.hasDevices = true }
    }
    package func resume() async throws { try await take(.resume) }
    private func take(_ step: FakeHypervisor.Step) async throws {
        try await before(step, configuration)
        if let exit { throw VMError("\(name) \(exit)") }
    }
    package func removeFiles() {}

    package func consoleTail(lines: Int) -> [String] { Array(state.withLock { $0.console }.suffix(lines)) }
    package func stderrTail() -> [String] { state.withLock { $0.stderr } }
    package func processorState() async -> ProcessorState? { nil }
}
