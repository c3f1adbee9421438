import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC

/// Mounts the storages of a request and finds its disks.
package enum StorageMounter {
    /// Drivers of storages that the agent announces (GetGuestDetails).
    package static let handlers = [
        StorageDriver.virtioFS, StorageDriver.nineP, StorageDriver.ephemeral, StorageDriver.local, StorageDriver.bind,
        StorageDriver.block, StorageDriver.scsi, SocketRelay.driver,
    ]
    /// Drivers of devices that the agent announces.
    package static let deviceHandlers = [StorageDriver.block, StorageDriver.scsi]

    /// Mounts a storage's file system. Blocks, at most `hotPlugTimeout` for a device to appear.
    /// - Throws: `RPCError` with `unimplemented`, `invalidArgument` or `deadlineExceeded`; `SystemError` of the mount.
    package static func mount(_ storage: Grpc_Storage, hotPlugTimeout: Duration) throws {
        guard storage.driver.isEmpty || handlers.contains(storage.driver) else {
            throw RPCError(.unimplemented, "storage driver \(storage.driver) is not implemented")
        }
        if storage.driver == StorageDriver.bind, let directory = VolumeDirectory(storage.driverOptions) {
            return try VolumeMounts.mount(directory, storage)
        }
        try Files.makeDirectory(storage.mountPoint, mode: 0o755)
        let options = MountOptions(storage.options)
        let disk = try find(storage.driver, storage.source, hotPlugTimeout, field: "storage.source")
        let source = disk?.path ?? storage.source
        func mount() throws(SystemError) {
            try Mounts.mount(
                source, at: storage.mountPoint, type: storage.fstype, flags: options.flags, data: options.data)
        }
        guard storage.fstype == StorageDriver.virtioFSType else { return try mount() }
        // EINVAL: no share of that name yet (fs/fuse/virtio_fs.c). A hot-plugged share may still appear.
        let mounted: Void? = try DeviceEvents().wait(until: .now + hotPlugTimeout) {
            do { try mount() } catch let error as SystemError where error.code == EINVAL { return nil }
            return ()
        }
        if mounted == nil { throw SystemError("mount virtiofs \(source) on", storage.mountPoint, errno: EINVAL) }
    }

    /// Finds the guest's disk for a device of a request. Blocks until the disk is there.
    /// - Throws: `RPCError` with `unimplemented`, `invalidArgument` or `deadlineExceeded`; as `BlockDevice.wait`.
    package static func find(_ device: Grpc_Device, hotPlugTimeout: Duration) throws -> BlockDevice {
        guard let disk = try find(device.type, device.id, hotPlugTimeout, field: "device.id") else {
            throw RPCError(.unimplemented, "device type \(device.type) is not implemented")
        }
        return disk
    }

    /// - Returns: nil for drivers without disks.
    private static func find(_ driver: String, _ text: String, _ limit: Duration, field: String) throws -> BlockDevice?
    {
        let address: BlockDevice.Address?
        switch driver {
        case StorageDriver.block: address = PCIPath(text).map { .pci($0) }
        case StorageDriver.scsi: address = SCSIAddress(text).map { .scsi($0) }
        default: return nil
        }
        guard let address else {
            throw RPCError(.invalidArgument, "\(field): \"\(text)\" is no place of a disk of driver \(driver)")
        }
        guard let disk = try BlockDevice.wait(at: address, until: .now + limit) else {
            throw RPCError(.deadlineExceeded, "\(field): no disk has appeared at \(driver) \(text) within \(limit)")
        }
        return disk
    }
}
