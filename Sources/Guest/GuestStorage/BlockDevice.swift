import Glibc
import LinuxKernel
import Netlink

/// A disk of the guest.
package struct BlockDevice: Sendable, Equatable {
    /// As below /dev.
    package let name: String
    package let major: Int64
    package let minor: Int64

    package var path: String { "/dev/" + name }

    /// Where the host has plugged it in.
    package enum Place: Sendable, Equatable {
        /// Slots from the root bus on: behind each but the last is a bridge.
        case pci([String])
        /// Target and unit of a controller of virtio.
        case scsi(target: UInt32, unit: UInt32)

        /// - Parameter pci: `0e/00`, two hexadecimal digits each (Kata's agent, PCI path); nil for anything else.
        package init?(pci: String) {
            let slots = pci.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard slots.count <= 8, slots.allSatisfy({ $0.count == 2 && (UInt8($0, radix: 16) ?? 32) < 32 }) else {
                return nil
            }
            self = .pci(slots.map { $0.lowercased() })
        }

        /// - Parameter scsi: `0:3`; nil for anything else.
        package init?(scsi: String) {
            let numbers = scsi.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
            guard numbers.count == 2, let target = numbers[0], let unit = numbers[1], target < 256, unit < 16384 else {
                return nil
            }
            self = .scsi(target: target, unit: unit)
        }
    }

    /// Waits until the guest's kernel has it. Blocks.
    /// - Returns: nil when it has not come by then.
    package static func wait(at place: Place, until deadline: ContinuousClock.Instant, sysfs: String = "/sys") throws
        -> BlockDevice?
    {
        try DeviceEvents().wait(until: deadline) { find(place, sysfs: sysfs).flatMap { $0.isReady ? $0 : nil } }
    }

    /// sysfs shows it a moment before it can be opened; the kernel's event comes after both.
    private var isReady: Bool {
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        if descriptor >= 0 { close(descriptor) }
        return descriptor >= 0 || errno != ENXIO
    }

    static func find(_ place: Place, sysfs: String) -> BlockDevice? {
        switch place {
        case .pci(let slots):
            var path = sysfs + "/devices/pci0000:00"
            for slot in slots {
                // <domain>:<bus>:<slot>.<function>; the bus's number is the kernel's choice.
                guard let name = Files.list(path).first(where: { $0.count == 12 && $0.hasSuffix(":\(slot).0") }) else {
                    return nil
                }
                path += "/" + name
            }
            for virtio in Files.list(path) where virtio.hasPrefix("virtio") {
                if let device = read(path + "/\(virtio)/block") { return device }
            }
        case .scsi(let target, let unit):
            let found = scsi(":0:\(target):\(unit)", sysfs)
            if found != nil { return found }
            // The controller's own notice may have come before its driver: look again at this unit, and at no other.
            for host in Files.list(sysfs + "/class/scsi_host") {
                try? Files.write(sysfs + "/class/scsi_host/\(host)/scan", "0 \(target) \(unit)")
            }
            return scsi(":0:\(target):\(unit)", sysfs)
        }
        return nil
    }

    private static func scsi(_ address: String, _ sysfs: String) -> BlockDevice? {
        for name in Files.list(sysfs + "/class/scsi_device") where name.hasSuffix(address) {
            if let device = read(sysfs + "/class/scsi_device/\(name)/device/block") { return device }
        }
        return nil
    }

    /// The one entry of a `block` directory of sysfs.
    private static func read(_ directory: String) -> BlockDevice? {
        guard let name = Files.list(directory).first, let text = try? Files.readText("\(directory)/\(name)/dev") else {
            return nil
        }
        let numbers = text.split(whereSeparator: { $0 == ":" || $0.isWhitespace }).compactMap { Int64($0) }
        guard numbers.count == 2 else { return nil }
        return BlockDevice(name: name, major: numbers[0], minor: numbers[1])
    }
}
