import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import TTRPC

/// What the host gives a sandbox or a container beside its files: disks, and file systems to mount.
package enum StorageMounter {
    /// Names that the agent announces (GetGuestDetails).
    package static let handlers = ["virtio-fs", "9p", "ephemeral", "local", "bind", "blk", "scsi", SocketRelay.driver]
    package static let deviceHandlers = ["blk", "scsi"]

    /// Mounts what a storage describes. Blocks.
    package static func mount(_ storage: Grpc_Storage, hotPlugTimeout: Duration) throws {
        guard storage.driver.isEmpty || handlers.contains(storage.driver) else {
            throw RPCError(.unimplemented, "storage driver \(storage.driver) is not implemented")
        }
        try Files.makeDirectory(storage.mountPoint, mode: 0o755)
        let options = MountOptions(storage.options)
        let disk = try find(storage.driver, storage.source, hotPlugTimeout, field: "storage.source")
        let source = disk?.path ?? storage.source
        func mount() throws(SystemError) {
            try Mounts.mount(
                source, at: storage.mountPoint, type: storage.fstype, flags: options.flags, data: options.data)
        }
        guard storage.fstype == "virtiofs" else { return try mount() }
        // EINVAL: no share of that name yet (fs/fuse/virtio_fs.c); one that was plugged in may still be on its way.
        let mounted: Void? = try DeviceEvents().wait(until: .now + hotPlugTimeout) {
            do { try mount() } catch let error as SystemError where error.code == EINVAL { return nil }
            return ()
        }
        if mounted == nil { throw SystemError("mount virtiofs \(source) on", storage.mountPoint, errno: EINVAL) }
    }

    /// The guest's own disk for a device of a request. Blocks until it is there.
    package static func find(_ device: Grpc_Device, hotPlugTimeout: Duration) throws -> BlockDevice {
        guard let disk = try find(device.type, device.id, hotPlugTimeout, field: "device.id") else {
            throw RPCError(.unimplemented, "device type \(device.type) is not implemented")
        }
        return disk
    }

    /// - Returns: nil for drivers without disks.
    private static func find(_ driver: String, _ text: String, _ limit: Duration, field: String) throws -> BlockDevice?
    {
        let place: BlockDevice.Place?
        switch driver {
        case "blk": place = BlockDevice.Place(pci: text)
        case "scsi": place = BlockDevice.Place(scsi: text)
        default: return nil
        }
        guard let place else {
            throw RPCError(.invalidArgument, "\(field): \"\(text)\" is no place of a disk of driver \(driver)")
        }
        guard let disk = try BlockDevice.wait(at: place, until: .now + limit) else {
            throw RPCError(.deadlineExceeded, "\(field): no disk has appeared at \(driver) \(text) within \(limit)")
        }
        return disk
    }
}
