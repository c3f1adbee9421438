/// A device's place on the guest's PCI buses, as Kata's agent writes it: `0e/00`.
///
/// Each slot has two lowercase hexadecimal digits. Every slot but the last holds a bridge to the bus of the next one.
package struct PCIPath: Equatable, Sendable, CustomStringConvertible {
    /// At most 8 slots, each below 32.
    package let slots: [UInt8]

    private static let maxSlots = 8
    private static let slotsPerBus: UInt8 = 32

    package init?(slots: [UInt8]) {
        guard (1...Self.maxSlots).contains(slots.count), slots.allSatisfy({ $0 < Self.slotsPerBus }) else { return nil }
        self.slots = slots
    }

    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let slots = parts.compactMap { $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) ? UInt8($0, radix: 16) : nil }
        guard slots.count == parts.count else { return nil }
        self.init(slots: slots)
    }

    /// One slot's two digits.
    package static func digits(of slot: UInt8) -> String { (slot < 16 ? "0" : "") + String(slot, radix: 16) }

    package var description: String { slots.map(Self.digits).joined(separator: "/") }
}

/// A disk's place on a virtio-scsi controller, as Kata's agent writes it: `0:3`.
package struct SCSIAddress: Equatable, Sendable, CustomStringConvertible {
    /// Below 256 (virtio specification, "SCSI Host Device").
    package let target: UInt32
    /// Logical unit number, below 16384.
    package let unit: UInt32

    package init?(target: UInt32, unit: UInt32) {
        guard target < 256, unit < 16384 else { return nil }
        (self.target, self.unit) = (target, unit)
    }

    package init?(_ text: String) {
        let numbers = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard numbers.count == 2, let target = numbers[0], let unit = numbers[1] else { return nil }
        self.init(target: target, unit: unit)
    }

    package var description: String { "\(target):\(unit)" }
}
