import EventLoop
import LinuxKernel

/// A disk to add to a machine: an open block device or image file of the host.
package struct Disk: Sendable {
    /// A name that no other device has.
    package let id: String
    /// Open for reading, and for writing unless it is read-only: QEMU itself opens nothing.
    package let file: SharedDescriptor
    package let isBlockDevice: Bool
    package let readOnly: Bool
    package let settings: Settings

    package init(id: String, file: SharedDescriptor, isBlockDevice: Bool, readOnly: Bool, settings: Settings) {
        (self.id, self.file, self.isBlockDevice, self.readOnly) = (id, file, isBlockDevice, readOnly)
        self.settings = settings
    }

    /// How all disks of a machine are attached (`block_device_*`).
    package struct Settings: Sendable, Equatable {
        /// A PCI device for each, or all behind one controller.
        package enum Driver: Sendable { case blk, scsi }
        package var driver = Driver.scsi
        package var asynchronousIO = "io_uring"
        /// nil leaves it to QEMU.
        package var cache: (direct: Bool, noFlush: Bool)?
        /// Bytes; 0 leaves them to QEMU.
        package var logicalSector = 0
        package var physicalSector = 0

        package init() {}

        package static func == (left: Settings, right: Settings) -> Bool {
            left.driver == right.driver && left.asynchronousIO == right.asynchronousIO
                && left.cache?.direct == right.cache?.direct && left.cache?.noFlush == right.cache?.noFlush
                && left.logicalSector == right.logicalSector && left.physicalSector == right.physicalSector
        }
    }

    /// Where the guest finds it, in the words of Kata's agent.
    package enum Place: Sendable, Equatable {
        /// Slots from the root bus on, two digits each: `0e/00`.
        case pci(String)
        /// Target and unit of the one controller: `0:3`.
        case scsi(String)
    }

    /// Arguments of blockdev-add (qapi/block-core.json). The file is a set of descriptors that QEMU was given (add-fd).
    func node(fileSet: Int, asynchronousIO: String) -> String {
        let driver = isBlockDevice ? "host_device" : "file"
        let cache = settings.cache.map { #","cache":{"direct":\#($0.direct),"no-flush":\#($0.noFlush)}"# } ?? ""
        return
            #"{"node-name":"\#(id)","driver":"raw","read-only":\#(readOnly)\#(cache),"file":{"driver":"\#(driver)","filename":"/dev/fdset/\#(fileSet)","read-only":\#(readOnly),"aio":"\#(asynchronousIO)"\#(cache)}}"#
    }

    /// Arguments of device_add.
    func frontEnd(_ driver: String, _ place: String) -> String {
        var sectors = ""
        if settings.logicalSector > 0 { sectors += #","logical_block_size":\#(settings.logicalSector)"# }
        if settings.physicalSector > 0 { sectors += #","physical_block_size":\#(settings.physicalSector)"# }
        return #"{"driver":"\#(driver)","id":"\#(id)-device","drive":"\#(id)",\#(place)\#(sectors)}"#
    }
}

/// Disks that come and go while the machine runs.
extension QEMUVirtualMachine {
    private static let controller = "scsi0"

    /// - Returns: where the guest will find it.
    package func add(_ disk: Disk) async throws -> Disk.Place {
        let monitor = try await monitor()
        let number = disks.withLock { disks in
            disks.lastNumber += 1
            return disks.lastNumber
        }
        try await monitor.execute("add-fd", #"{"fdset-id":\#(number)}"#, descriptor: disk.file.raw)
        do {
            try await addNode(disk, number, monitor)
            do {
                let place = try await attach(disk, monitor)
                disks.withLock { $0.files[disk.id] = number }
                return place
            } catch {
                try? await monitor.execute("blockdev-del", #"{"node-name":"\#(disk.id)"}"#)
                throw error
            }
        } catch {
            try? await monitor.execute("remove-fd", #"{"fdset-id":\#(number)}"#)
            throw error
        }
    }

    private func addNode(_ disk: Disk, _ fileSet: Int, _ monitor: QMPClient) async throws {
        do {
            try await monitor.execute(
                "blockdev-add", disk.node(fileSet: fileSet, asynchronousIO: disk.settings.asynchronousIO))
        } catch  where disk.settings.asynchronousIO != "threads" {
            // Kernels and containers that lack io_uring, and files that lack O_DIRECT for native: threads do everywhere.
            try await monitor.execute("blockdev-add", disk.node(fileSet: fileSet, asynchronousIO: "threads"))
        }
    }

    private func attach(_ disk: Disk, _ monitor: QMPClient) async throws -> Disk.Place {
        switch disk.settings.driver {
        case .blk:
            let port = try slots.withLock { (slots) throws(QMPError) in try slots.take(disk.id) }
            do {
                try await monitor.execute("device_add", disk.frontEnd("virtio-blk-pci", #""bus":"\#(port)""#))
            } catch {
                slots.withLock { $0.release(disk.id) }
                throw error
            }
            return .pci(DeviceSlots.pciPath(of: port))
        case .scsi:
            try await addController(monitor)
            let unit = try disks.withLock { (disks) throws(QMPError) in try disks.takeUnit(disk.id) }
            do {
                // 256 units a target, 256 targets (hw/scsi/virtio-scsi.c).
                let place = #""bus":"\#(Self.controller).0","scsi-id":\#(unit / 256),"lun":\#(unit % 256)"#
                try await monitor.execute("device_add", disk.frontEnd("scsi-hd", place))
            } catch {
                disks.withLock { $0.units[unit] = nil }
                throw error
            }
            return .scsi("\(unit / 256):\(unit % 256)")
        }
    }

    private func addController(_ monitor: QMPClient) async throws {
        let isFirst = disks.withLock { disks in
            defer { disks.hasController = true }
            return !disks.hasController
        }
        guard isFirst else { return }
        do {
            let port = try slots.withLock { (slots) throws(QMPError) in try slots.take(Self.controller) }
            try await monitor.execute(
                "device_add", #"{"driver":"virtio-scsi-pci","id":"\#(Self.controller)","bus":"\#(port)"}"#)
        } catch {
            slots.withLock { $0.release(Self.controller) }
            disks.withLock { $0.hasController = false }
            throw error
        }
    }

    /// - Parameter id: of the disk. Returns when the guest has let it go.
    package func removeDisk(_ id: String) async throws {
        try await remove(device: id + "-device", timeout: Deadline.release.limit)
        try await removeNode(id)
        // Until then QEMU keeps the descriptor that it was given, and with it the host's device.
        if let file = disks.withLock({ $0.files.removeValue(forKey: id) }) {
            try await monitor().execute("remove-fd", #"{"fdset-id":\#(file)}"#)
        }
        slots.withLock { $0.release(id) }
        disks.withLock { disks in disks.units = disks.units.filter { $0.value != id } }
    }

    /// The device has gone from the guest; QEMU itself may hold what is behind it a moment longer (it frees devices by RCU).
    private func removeNode(_ id: String) async throws {
        for turn in 1... {
            do { return try await monitor().execute("blockdev-del", #"{"node-name":"\#(id)"}"#) } catch {
                guard turn < 50 else { throw error }
                try await sleep(.milliseconds(20), on: loop)
            }
        }
    }
}

/// What a machine's monitor knows of disks.
struct DiskTable: Sendable {
    var lastNumber = 0
    var hasController = false
    /// Disk → number of the set of descriptors that it is read through.
    var files: [String: Int] = [:]
    /// Unit number of the controller → disk.
    var units: [Int: String] = [:]

    mutating func takeUnit(_ disk: String) throws(QMPError) -> Int {
        guard let free = (0..<65536).first(where: { units[$0] == nil }) else {
            throw QMPError("add disk \(disk): the controller has no free unit")
        }
        units[free] = disk
        return free
    }
}
