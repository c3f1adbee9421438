import Hypervisor

/// The PCIe root ports of a machine, and the device in each.
struct DeviceSlots: Sendable, Equatable {
    /// The first port's slot on the root bus: lower ones hold the devices of the start; 0x1f is the chipset's own.
    static let firstSlot = 14

    private var devices: [String?]

    init(ports: Int) { devices = Array(repeating: nil, count: ports) }

    /// Takes a free port for a device.
    /// - Returns: the port's name.
    mutating func take(_ device: String) throws(VMError) -> String {
        guard let free = devices.firstIndex(of: nil) else {
            throw VMError(
                "add device \(device): all \(devices.count) PCIe root ports are in use; raise hypervisor.qemu.pcie_root_port"
            )
        }
        devices[free] = device
        return "port\(free)"
    }

    /// The address of the device in a port, in the format of Kata's agent. It is the slot on the root bus, then the
    /// only one behind it.
    static func pciPath(of port: String) -> String {
        let slot = firstSlot + (Int(port.drop { !$0.isNumber }) ?? 0)
        return (slot < 16 ? "0" : "") + String(slot, radix: 16) + "/00"
    }

    var hasFree: Bool { devices.contains(nil) }

    mutating func release(_ device: String) {
        if let index = devices.firstIndex(of: device) { devices[index] = nil }
    }
}
