import LinuxKernel

/// A running virtual machine.
///
/// Calls that add or remove devices come one at a time: the sandbox queues them.
package protocol VirtualMachine: AnyObject, Sendable {
    /// The hypervisor's process: the one that managers see for the sandbox.
    var pid: Int32 { get }
    /// The hypervisor's name, for logs and errors.
    var name: String { get }
    var capabilities: Capabilities { get }

    // MARK: Its life

    /// How the process ended; nil while it runs.
    var exit: ProcessExit? { get }
    func waitForExit() async -> ProcessExit
    /// A signal has stopped the process: nothing in the guest moves.
    var isHalted: Bool { get }
    /// Ends the machine at once.
    func kill()
    /// Ends the machine: a guest that was told to power off gets `timeout` for it.
    func stop(timeout: Duration) async

    // MARK: Its size

    /// What the machine has now.
    var size: MachineSize { get }
    /// Adds processors until there are `count`, at most the configured maximum; the guest has to bring them online. None is removed.
    func addProcessors(upTo count: Int) async throws
    /// Brings the machine's memory to `mebibytes`, in whole blocks of the guest's, as far as its maximum allows.
    /// - Parameter block: what the guest can add at once, in MiB (/sys/devices/system/memory/block_size_bytes).
    /// - Returns: false when the guest had not taken it in time; it may do so later.
    func setMemory(_ mebibytes: Int, block: Int) async throws -> Bool

    // MARK: Its devices

    /// Why no further device of this kind can be added now, and what to configure; nil where one can.
    func unavailableReason(for device: Capabilities.Device) -> String?
    /// - Returns: where the guest will find it.
    func add(_ disk: Disk) async throws -> Disk.Place
    /// - Parameter id: of the disk. Returns when the guest has released it.
    func removeDisk(_ id: String) async throws
    func add(_ device: NetworkDevice) async throws
    /// - Parameter id: of the network device. Returns when the guest has released it.
    func removeNetworkDevice(_ id: String) async throws

    // MARK: Snapshots (`Capabilities.hasSnapshots`)

    /// Writes all of the machine's state but its shared memory; the machine stands still from then on.
    func saveState(to file: borrowing FileDescriptor, within limit: Duration) async throws
    /// Reads the state that `saveState` wrote; the machine stands still until `resume`.
    func loadState(from file: borrowing FileDescriptor, within limit: Duration) async throws
    /// Adds the channel and the share of `configuration` to a machine that was made without them.
    func connect(_ configuration: VMConfiguration) async throws
    /// Lets the guest run.
    func resume() async throws
    /// Removes the files that the machine made for itself, after its end.
    func removeFiles()

    // MARK: What it says

    /// The console's last lines, without control characters. The guest writes them: they are bounded.
    func consoleTail(lines: Int) -> [String]
    /// The last lines that the program itself wrote to standard error.
    func stderrTail() -> [String]
    /// Where the first processor is; nil where that can't be told.
    func processorState() async -> ProcessorState?
}

/// Memory and processors of a machine.
package struct MachineSize: Sendable, Equatable {
    package var memoryMiB: Int
    package var vcpus: Int

    package init(memoryMiB: Int, vcpus: Int) { (self.memoryMiB, self.vcpus) = (memoryMiB, vcpus) }
}

/// Where a machine's first processor is: how far a guest came that says nothing.
package enum ProcessorState: Equatable, Sendable {
    /// Before the kernel: its entry in protected mode, or the firmware.
    case firmware
    case kernel
    /// In the kernel, with nothing to do.
    case idle
    /// A program, with a program's privileges.
    case program
}

/// Why a machine could not be started or changed: one line for a person.
package struct VMError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
