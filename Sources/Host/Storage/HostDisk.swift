import Glibc
import LinuxKernel

/// A block device or an image file of the host, opened for a machine.
package struct HostDisk: Sendable {
    package let path: String
    package let file: SharedDescriptor
    package let isBlockDevice: Bool
    package let readOnly: Bool
    /// Identity of the disk: equal for two paths of the same disk.
    package let identity: Identity

    package struct Identity: Sendable, Hashable {
        let device: UInt64
        let file: UInt64
    }

    /// The path of the block device with these numbers (sysfs, /sys/dev/block).
    /// - Throws: `SystemError` (ENODEV) when the host has no such device.
    package static func path(major: Int64, minor: Int64) throws(SystemError) -> String {
        let object = "block device \(major):\(minor)"
        guard let text = try? Files.readText("/sys/dev/block/\(major):\(minor)/uevent"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("DEVNAME=") })
        else { throw SystemError("find", object, errno: ENODEV) }
        return "/dev/" + line.dropFirst("DEVNAME=".count)
    }

    /// Opens a disk. A device that can't be written is opened read-only, whatever is asked.
    /// - Throws: `SystemError` when the path can't be opened; ENOTBLK for anything but a block device or a file.
    package init(path: String, readOnly: Bool) throws(SystemError) {
        try self.init(FoundFile(path), readOnly: readOnly)
    }

    init(_ found: borrowing FoundFile, readOnly: Bool) throws(SystemError) {
        let path = found.path
        guard [S_IFBLK, S_IFREG].contains(found.kind) else { throw SystemError("use as disk", path, errno: ENOTBLK) }
        let facts = found.facts
        isBlockDevice = found.kind == S_IFBLK
        identity =
            isBlockDevice
            ? Identity(device: UInt64(facts.st_rdev), file: 0)
            : Identity(device: UInt64(facts.st_dev), file: UInt64(facts.st_ino))
        self.path = path
        self.readOnly = readOnly || (isBlockDevice && Self.isReadOnlyDevice(DeviceNumber(UInt64(facts.st_rdev))))
        file = SharedDescriptor(try found.open(self.readOnly ? O_RDONLY : O_RDWR))
    }

    private static func isReadOnlyDevice(_ number: DeviceNumber) -> Bool {
        (try? Files.readText("/sys/dev/block/\(number)/ro"))?.first == "1"
    }
}
