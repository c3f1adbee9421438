/// Finds devices in sysfs by their place on the PCI buses (Documentation/PCI/sysfs-pci.rst).
package enum PCIDevice {
    private static let rootBus = "/devices/pci0000:00"
    private static let addressLength = "0000:00:00.0".count

    /// The directory of a function 0.
    /// - Parameter slots: from the root bus on; each but the last holds a bridge to the bus of the next.
    package static func directory(at slots: [UInt8], sysfs: String = "/sys") -> String? {
        var path = sysfs + rootBus
        for slot in slots {
            // <domain>:<bus>:<slot>.<function>; the kernel chooses the bus's number.
            let suffix = ":" + (slot < 16 ? "0" : "") + String(slot, radix: 16) + ".0"
            guard let function = Files.list(path).first(where: { $0.count == addressLength && $0.hasSuffix(suffix) })
            else { return nil }
            path += "/" + function
        }
        return path
    }

    /// The directories of the virtio devices behind a function, such as `…/virtio3`.
    package static func virtioDirectories(at slots: [UInt8], sysfs: String = "/sys") -> [String] {
        directory(at: slots, sysfs: sysfs).map(virtioDirectories) ?? []
    }

    private static func virtioDirectories(in directory: String) -> [String] {
        Files.list(directory).filter { $0.hasPrefix("virtio") }.map { "\(directory)/\($0)" }
    }

    /// The name of the network link of a function: of its virtio device, or its own.
    package static func networkLink(at slots: [UInt8], sysfs: String = "/sys") -> String? {
        guard let own = directory(at: slots, sysfs: sysfs) else { return nil }
        return (virtioDirectories(in: own) + [own]).lazy.compactMap { Files.list($0 + "/net").first }.first
    }
}
