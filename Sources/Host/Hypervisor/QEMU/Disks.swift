import EventLoop
import Hypervisor
import LinuxKernel

/// Disks that are added and removed while the machine runs.
extension QEMUMachine {
    private static let controller = "scsi0"

    package func add(_ disk: Disk) async throws -> Disk.Place {
        let monitor = try await monitor()
        let set = disks.withLock { $0.nextSet() }
        try await monitor.execute(QMP.AddFD(set: set), descriptor: disk.file.raw)
        do {
            try await addNode(disk, set, monitor)
            do {
                let place = try await attach(disk, monitor)
                disks.withLock { $0.sets[disk.id] = set }
                return place
            } catch {
                try? await monitor.execute(QMP.BlockDeviceDelete(name: disk.id))
                throw error
            }
        } catch {
            try? await monitor.execute(QMP.RemoveFD(set: set))
            throw error
        }
    }

    private func addNode(_ disk: Disk, _ set: Int, _ monitor: Monitor) async throws {
        let wanted = disk.settings.asynchronousIO
        do { try await monitor.execute(disk.node(set: set, asynchronousIO: wanted)) } catch  where wanted != "threads" {
            // Falls back to threads, which work everywhere: kernels and containers may lack io_uring, and files may
            // lack O_DIRECT for native.
            try await monitor.execute(disk.node(set: set, asynchronousIO: "threads"))
        }
    }

    private func attach(_ disk: Disk, _ monitor: Monitor) async throws -> Disk.Place {
        switch disk.settings.driver {
        case .blk:
            let port = try takePort(disk.id)
            do { try await monitor.execute(disk.device(port: port)) } catch {
                releasePort(disk.id)
                throw error
            }
            return .pci(DeviceSlots.pciPath(of: port))
        case .scsi:
            try await addController(monitor)
            let unit = try disks.withLock { (disks) throws(VMError) in try disks.takeUnit(disk.id) }
            do { try await monitor.execute(disk.device(controller: Self.controller, unit: unit)) } catch {
                disks.withLock { $0.units[unit.number] = nil }
                throw error
            }
            return .scsi("\(unit.target):\(unit.lun)")
        }
    }

    private func addController(_ monitor: Monitor) async throws {
        let isFirst = disks.withLock { disks in
            defer { disks.hasController = true }
            return !disks.hasController
        }
        guard isFirst else { return }
        do {
            let port = try takePort(Self.controller)
            try await monitor.execute(QMP.DeviceAdd(driver: "virtio-scsi-pci", id: Self.controller, bus: port))
        } catch {
            releasePort(Self.controller)
            disks.withLock { $0.hasController = false }
            throw error
        }
    }

    package func removeDisk(_ id: String) async throws {
        try await remove(device: Disk.deviceName(id), timeout: Deadline.release.limit)
        try await removeNode(id)
        // Until then QEMU keeps the descriptor that it received, and with it the host's device.
        if let set = disks.withLock({ $0.sets.removeValue(forKey: id) }) {
            try await monitor().execute(QMP.RemoveFD(set: set))
        }
        releasePort(id)
        disks.withLock { disks in disks.units = disks.units.filter { $0.value != id } }
    }

    /// Removes the block node of a device that has left the guest. QEMU may use it a moment longer (it frees devices
    /// by RCU) and reports no end of that, so the command is repeated.
    private func removeNode(_ id: String) async throws {
        for attempt in 1... {
            do { return try await monitor().execute(QMP.BlockDeviceDelete(name: id)) } catch {
                guard attempt < Self.removalAttempts else { throw error }
                try await sleep(Self.removalPause, on: loop)
            }
        }
    }

    private static let removalAttempts = 50
    private static let removalPause = Duration.milliseconds(20)
}

extension Disk {
    static func deviceName(_ disk: String) -> String { disk + "-device" }

    /// The block device of the disk. Its file is a descriptor set of QEMU.
    ///
    /// A raw device of the host is taken without QEMU's lock: Kubernetes may give a volume to several pods of a node,
    /// whose programs share it by rules of their own. So is one that is only read. The lock stays for an image file, and
    /// for a device that the guest mounts: two kernels that write one file system destroy it.
    func node(set: Int, asynchronousIO: String) -> QMP.BlockDeviceAdd {
        let cache = settings.cache.map { QMP.BlockDeviceAdd.Cache(direct: $0.direct, noFlush: $0.noFlush) }
        return QMP.BlockDeviceAdd(
            name: id, readOnly: readOnly, cache: cache,
            file: .init(
                driver: isBlockDevice ? "host_device" : "file", filename: "/dev/fdset/\(set)", readOnly: readOnly,
                aio: asynchronousIO, cache: cache, locking: isShareable ? "off" : nil))
    }

    private var isShareable: Bool { isBlockDevice && (isRaw || readOnly) }

    /// A PCI device in a root port.
    func device(port: String) -> QMP.DeviceAdd { device("virtio-blk-pci", bus: port) }

    /// A unit of the controller.
    func device(controller: String, unit: DiskTable.Unit) -> QMP.DeviceAdd {
        var device = device("scsi-hd", bus: controller + ".0")
        (device.scsiID, device.lun) = (unit.target, unit.lun)
        return device
    }

    private func device(_ driver: String, bus: String) -> QMP.DeviceAdd {
        var device = QMP.DeviceAdd(driver: driver, id: Self.deviceName(id), bus: bus)
        device.drive = id
        if isShareable { device.shareRW = true }
        if settings.logicalSector > 0 { device.logicalBlockSize = settings.logicalSector }
        if settings.physicalSector > 0 { device.physicalBlockSize = settings.physicalSector }
        return device
    }
}

/// The disks of a machine, as its monitor has them.
struct DiskTable: Sendable {
    /// An address behind the controller: 256 targets of 256 units (hw/scsi/virtio-scsi.c).
    struct Unit: Sendable, Equatable {
        static let perTarget = 256
        static let count = 256 * perTarget
        let number: Int
        var target: Int { number / Self.perTarget }
        var lun: Int { number % Self.perTarget }
    }

    private var lastSet = 0
    var hasController = false
    /// The number of each disk's descriptor set.
    var sets: [String: Int] = [:]
    /// The disk of each unit number of the controller.
    var units: [Int: String] = [:]

    mutating func nextSet() -> Int {
        lastSet += 1
        return lastSet
    }

    mutating func takeUnit(_ disk: String) throws(VMError) -> Unit {
        guard let free = (0..<Unit.count).first(where: { units[$0] == nil }) else {
            throw VMError("add disk \(disk): the controller has no free unit")
        }
        units[free] = disk
        return Unit(number: free)
    }
}
