import Glibc
import Hypervisor
import LinuxKernel

/// Network cards that are added and removed while the machine runs.
extension QEMUMachine {
    package func add(_ device: NetworkDevice) async throws -> String {
        let monitor = try await monitor()
        let port = try takePort(device.id)
        var hasBackend = false
        do {
            let vhost = try device.vhost ? device.queues.map { _ in try Self.openVhostNet() } : []
            let queueNames = try await give(device.queues, "\(device.id)-queue", monitor)
            let vhostNames = try await give(vhost, "\(device.id)-vhost", monitor)
            try await monitor.execute(device.backend(queueNames, vhost: vhostNames))
            hasBackend = true
            try await monitor.execute(device.card(port: port))
            return DeviceSlots.pciPath(of: port)
        } catch {
            if hasBackend { try? await monitor.execute(QMP.NetworkDelete(id: device.id)) }
            releasePort(device.id)
            throw error
        }
    }

    /// Passes descriptors to QEMU under names with this prefix.
    private func give(_ descriptors: [SharedDescriptor], _ prefix: String, _ monitor: Monitor) async throws -> [String]
    {
        var names: [String] = []
        for (index, descriptor) in descriptors.enumerated() {
            names.append("\(prefix)\(index)")
            try await monitor.execute(QMP.GetFD(fdname: names[index]), descriptor: descriptor.raw)
        }
        return names
    }

    package func removeNetworkDevice(_ id: String) async throws {
        try await remove(device: NetworkDevice.cardName(id), timeout: Deadline.release.limit)
        try await monitor().execute(QMP.NetworkDelete(id: id))
        releasePort(id)
    }

    private static func openVhostNet() throws -> SharedDescriptor {
        SharedDescriptor(try FileDescriptor.open("/dev/vhost-net", O_RDWR))
    }
}

extension NetworkDevice {
    static func cardName(_ device: String) -> String { device + "-card" }

    /// The host's side of a card. One descriptor and several have different keys.
    func backend(_ names: [String], vhost vhostNames: [String]) -> QMP.NetworkAdd {
        var backend = QMP.NetworkAdd(id: id, vhost: vhost)
        if names.count == 1 {
            backend.fd = names[0]
        } else if !names.isEmpty {
            backend.fds = names.joined(separator: ":")
        }
        if vhostNames.count == 1 {
            backend.vhostfd = vhostNames[0]
        } else if !vhostNames.isEmpty {
            backend.vhostfds = vhostNames.joined(separator: ":")
        }
        return backend
    }

    /// The guest's side of a card. Each queue has two interrupts, and the device two more.
    func card(port: String) -> QMP.DeviceAdd {
        var card = QMP.DeviceAdd(driver: "virtio-net-pci", id: Self.cardName(id), bus: port)
        (card.netdev, card.mac, card.romfile) = (id, hardwareAddress, "")
        if queues.count > 1 { (card.mq, card.vectors) = (true, 2 * queues.count + 2) }
        return card
    }
}
