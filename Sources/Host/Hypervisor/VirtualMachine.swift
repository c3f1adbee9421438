import LinuxKernel

/// A running virtual machine.
///
/// Calls that add or remove devices come one at a time: the sandbox queues them.
package protocol VirtualMachine: AnyObject, Sendable {
    /// Pid of the hypervisor, which managers see for the sandbox.
    var pid: Int32 { get }
    /// The hypervisor's name, for logs and errors.
    var name: String { get }
    var capabilities: Capabilities { get }

    // MARK: Process

    /// The end of the process; nil while it runs.
    var exit: ProcessExit? { get }
    func waitForExit() async -> ProcessExit
    /// Whether a signal has stopped the process: nothing in the guest moves then.
    var isHalted: Bool { get }
    /// Ends the machine at once.
    func kill()
    /// Ends the machine. A guest that is powering off gets `timeout` to finish.
    func stop(timeout: Duration) async

    // MARK: Size

    /// The machine's present size.
    var size: MachineSize { get }
    /// The threads of the host that run the machine's processors.
    /// - Throws: `VMError` without an answer of the hypervisor.
    func processorThreads() async throws -> [Int32]
    /// Adds processors until there are `count`, at most the configured maximum; the guest has to bring them online.
    /// Removes those beyond `count` where `Capabilities.hotUnplug` has processors, but none that the machine booted with.
    /// - Throws: `VMError` with the hypervisor's refusal of a new processor. One that the guest keeps is no error.
    func setProcessors(_ count: Int) async throws
    /// Brings the machine's memory to `mebibytes`, in whole blocks of the guest's, as far as its maximum allows.
    /// - Parameter block: the guest's unit of memory hot-plug, in MiB (/sys/devices/system/memory/block_size_bytes).
    /// - Returns: false when the guest had not accepted it in time; it may do so later.
    /// - Throws: `VMError` with the hypervisor's refusal, or without a free slot for the memory.
    func setMemory(_ mebibytes: Int, block: Int) async throws -> Bool

    // MARK: Devices

    /// The reason why no further device of this kind can be added now, and the setting to change; nil where one can.
    func unavailableReason(for device: Capabilities.Device) -> String?
    /// - Returns: the disk's address in the guest.
    /// - Throws: `VMError` with the hypervisor's refusal, or without a free port or unit.
    func add(_ disk: Disk) async throws -> Disk.Place
    /// - Parameter id: the disk's id. Returns when the guest has released it.
    /// - Throws: `VMError` when the guest does not release it in time, or the hypervisor refuses.
    func removeDisk(_ id: String) async throws
    /// - Returns: the card's PCI path in the guest, in the format of Kata's agent.
    /// - Throws: `VMError` with the hypervisor's refusal, or without a free port. `SystemError` when /dev/vhost-net
    ///   can't be opened.
    func add(_ device: NetworkDevice) async throws -> String
    /// - Parameter id: the network device's id. Returns when the guest has released it.
    /// - Throws: `VMError` when the guest does not release it in time, or the hypervisor refuses.
    func removeNetworkDevice(_ id: String) async throws

    // MARK: Snapshots (`Capabilities.hasSnapshots`)

    /// Writes all of the machine's state but its shared memory; the machine stands still from then on.
    /// - Throws: `VMError` when it is not done within `limit`, or the hypervisor refuses.
    func saveState(to file: borrowing FileDescriptor, within limit: Duration) async throws
    /// Reads the state that `saveState` wrote; the machine stands still until `resume`.
    /// - Throws: `VMError` when it is not done within `limit`, or the hypervisor refuses.
    func loadState(from file: borrowing FileDescriptor, within limit: Duration) async throws
    /// Adds the channel and the share of `configuration` to a machine that was made without them.
    /// - Throws: `VMError` with the hypervisor's refusal, or without a free port. `SystemError` when a socket has no
    ///   listener.
    func connect(_ configuration: VMConfiguration) async throws
    /// Lets the guest run.
    /// - Throws: `VMError` with the hypervisor's refusal.
    func resume() async throws
    /// Removes the files that the machine made for itself, after its end.
    func removeFiles()

    // MARK: Output

    /// The console's last lines, without control characters. Bounded, as the guest writes them.
    func consoleTail(lines: Int) -> [String]
    /// The last lines that the program wrote to standard error.
    func stderrTail() -> [String]
    /// The position of the first processor; nil when unknown.
    func processorState() async -> ProcessorState?
}

/// Memory and processors of a machine.
package struct MachineSize: Sendable, Equatable {
    package var memoryMiB: Int
    package var vcpus: Int

    package init(memoryMiB: Int, vcpus: Int) { (self.memoryMiB, self.vcpus) = (memoryMiB, vcpus) }
}

/// The position of a machine's first processor: shows how far a silent guest came.
package enum ProcessorState: Equatable, Sendable {
    /// Before the kernel: its entry in protected mode, or the firmware.
    case firmware
    case kernel
    /// In the kernel, idle.
    case idle
    /// In a program, with a program's privileges.
    case program
}

/// The reason why a machine could not be started or changed: one line for a person.
package struct VMError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
