import AgentAPI
import Glibc
import LinuxKernel
import Netlink

/// A disk of the guest.
package struct BlockDevice: Sendable, Equatable {
    /// Its name below /dev.
    package let name: String
    package let major: Int64
    package let minor: Int64

    package var path: String { "/dev/" + name }

    package init(name: String, major: Int64, minor: Int64) {
        (self.name, self.major, self.minor) = (name, major, minor)
    }

    /// The address at which the host has plugged the disk in.
    package enum Address: Sendable, Equatable {
        case pci(PCIPath)
        case scsi(SCSIAddress)
    }

    /// Waits until the guest's kernel has the disk at `address`. Blocks.
    /// - Returns: nil when it has not appeared by then.
    /// - Throws: `SystemError` when the kernel's device events can't be received.
    package static func wait(at address: Address, until deadline: ContinuousClock.Instant, sysfs: String = "/sys")
        throws
        -> BlockDevice?
    {
        try DeviceEvents().wait(until: deadline) { find(address, sysfs: sysfs).flatMap { $0.isReady ? $0 : nil } }
    }

    /// Whether it can be opened. sysfs shows a disk a moment earlier; the kernel's event comes after both.
    private var isReady: Bool {
        // SAFETY: the call only reads the path.
        let descriptor = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        if descriptor >= 0 { close(descriptor) }
        return descriptor >= 0 || errno != ENXIO
    }

    static func find(_ address: Address, sysfs: String) -> BlockDevice? {
        switch address {
        case .pci(let path): find(path, sysfs)
        case .scsi(let unit): find(unit, sysfs)
        }
    }

    private static func find(_ pci: PCIPath, _ sysfs: String) -> BlockDevice? {
        PCIDevice.virtioDirectories(at: pci.slots, sysfs: sysfs).lazy.compactMap { read($0 + "/block") }.first
    }

    private static func find(_ address: SCSIAddress, _ sysfs: String) -> BlockDevice? {
        // <host>:<channel>:<target>:<unit>
        let suffix = ":0:\(address)"
        if let found = find(withSuffix: suffix, sysfs) { return found }
        // The controller's event may have come before its driver was there: scan for this unit, and for no other.
        for host in Files.list(sysfs + "/class/scsi_host") {
            try? Files.write(sysfs + "/class/scsi_host/\(host)/scan", "0 \(address.target) \(address.unit)")
        }
        return find(withSuffix: suffix, sysfs)
    }

    private static func find(withSuffix suffix: String, _ sysfs: String) -> BlockDevice? {
        for name in Files.list(sysfs + "/class/scsi_device") where name.hasSuffix(suffix) {
            if let device = read(sysfs + "/class/scsi_device/\(name)/device/block") { return device }
        }
        return nil
    }

    /// Reads the one entry of a `block` directory of sysfs.
    private static func read(_ directory: String) -> BlockDevice? {
        guard let name = Files.list(directory).first, let text = try? Files.readText("\(directory)/\(name)/dev") else {
            return nil
        }
        let numbers = text.split(whereSeparator: { $0 == ":" || $0.isWhitespace }).compactMap { Int64($0) }
        guard numbers.count == 2 else { return nil }
        return BlockDevice(name: name, major: numbers[0], minor: numbers[1])
    }
}
