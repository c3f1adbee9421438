import LinuxKernel

/// A disk to add to a machine: an open block device or image file of the host.
package struct Disk: Sendable {
    /// A unique name among the machine's devices.
    package let id: String
    /// Open for reading, and for writing unless it is read-only: the hypervisor opens no path.
    package let file: SharedDescriptor
    package let isBlockDevice: Bool
    package let readOnly: Bool
    /// Whether a program of the guest uses the device itself: no file system is mounted from it.
    package let isRaw: Bool
    package let settings: Settings

    package init(
        id: String, file: SharedDescriptor, isBlockDevice: Bool, readOnly: Bool, isRaw: Bool, settings: Settings
    ) {
        (self.id, self.file, self.isBlockDevice, self.readOnly) = (id, file, isBlockDevice, readOnly)
        (self.isRaw, self.settings) = (isRaw, settings)
    }

    /// The settings by which all disks of a machine are attached (`block_device_*`).
    package struct Settings: Sendable, Equatable {
        /// A PCI device for each disk, or one controller for all.
        package enum Driver: Sendable { case blk, scsi }
        /// Caches of the host to bypass.
        package struct Cache: Sendable, Equatable {
            /// The page cache (O_DIRECT).
            package var direct: Bool
            /// The disk's own cache: flushes are ignored.
            package var noFlush: Bool
            package init(direct: Bool, noFlush: Bool) { (self.direct, self.noFlush) = (direct, noFlush) }
        }
        package var driver = Driver.scsi
        package var asynchronousIO = "io_uring"
        /// nil: the hypervisor's default.
        package var cache: Cache?
        /// Bytes; 0: the hypervisor's default.
        package var logicalSector = 0
        /// Bytes; 0: the hypervisor's default.
        package var physicalSector = 0

        package init() {}
    }

    /// The disk's address in the guest, in the format of Kata's agent.
    package enum Place: Sendable, Equatable {
        /// Slots from the root bus on, two digits each: `0e/00`.
        case pci(String)
        /// Target and unit of the one controller: `0:3`.
        case scsi(String)
    }
}
