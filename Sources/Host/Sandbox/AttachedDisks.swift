import AgentAPI
import EventLoop
import GuestSpec
import Hypervisor
import Storage

/// The disks of the host that a machine has. A disk that several containers use is attached once.
struct AttachedDisks: Sendable {
    private struct Entry: Sendable {
        let id: String
        let place: Disk.Place
        let readOnly: Bool
        var users = 1
    }
    private var entries: [HostDisk.Identity: Entry] = [:]
    private var lastNumber = 0

    /// A name that no disk has had before.
    mutating func nextID() -> String {
        lastNumber += 1
        return "disk\(lastNumber)"
    }

    /// Adds a user of a disk that is attached already.
    /// - Returns: nil where it isn't.
    /// - Throws: when the disk is attached read-only and the user must write it.
    mutating func use(_ disk: HostDisk, in sandbox: String) throws(SandboxError) -> Disk.Place? {
        guard let entry = entries[disk.identity] else { return nil }
        guard disk.readOnly || !entry.readOnly else {
            throw SandboxError(
                .wrongState, "\(disk.path) is in use in sandbox \(sandbox) already, where it can't be written")
        }
        entries[disk.identity]?.users += 1
        return entry.place
    }

    mutating func attached(_ disk: HostDisk, id: String, at place: Disk.Place) {
        entries[disk.identity] = Entry(id: id, place: place, readOnly: disk.readOnly)
    }

    /// Removes a user.
    /// - Returns: the id of a disk without users, which is forgotten here.
    mutating func release(_ identity: HostDisk.Identity) -> String? {
        guard let entry = entries[identity] else { return nil }
        entries[identity]?.users -= 1
        guard entry.users == 1 else { return nil }
        entries[identity] = nil
        return entry.id
    }
}

extension Sandbox {
    /// Attaches the disks of a container to the machine.
    /// - Returns: the disks' addresses in the guest.
    func attach(_ disks: [GuestSpec.Disk], for record: Container) async throws -> (
        devices: [Grpc_Device], storages: [Grpc_Storage]
    ) {
        var devices: [Grpc_Device] = []
        var storages: [Grpc_Storage] = []
        for disk in disks {
            let place = try await attach(disk, for: record)
            let (driver, address) =
                switch place {
                case .pci(let path): ("blk", path)
                case .scsi(let unit): ("scsi", unit)
                }
            switch disk.use {
            case .device(let path):
                var device = Grpc_Device()
                (device.type, device.id, device.containerPath) = (driver, address, path)
                devices.append(device)
            case .fileSystem(let type, let options, let mountPoint):
                var storage = Grpc_Storage()
                (storage.driver, storage.source, storage.fstype) = (driver, address, type)
                (storage.options, storage.mountPoint) = (options, mountPoint)
                storages.append(storage)
            }
        }
        return (devices, storages)
    }

    private func attach(_ disk: GuestSpec.Disk, for record: Container) async throws -> Disk.Place {
        let path =
            switch disk.source {
            case .number(let major, let minor): try HostDisk.path(major: major, minor: minor)
            case .path(let path): path
            }
        let host = try HostDisk(path: path, readOnly: disk.readOnly)
        let isRaw = if case .device = disk.use { true } else { false }
        let place = try await hardware.take(on: executor) { [weak self] in
            try await self?.plugIn(host, isRaw: isRaw)
        }.value
        guard let place else { throw SandboxError(.wrongState, "sandbox \(id) is gone") }
        record.disks.append(host.identity)
        return place
    }

    private func plugIn(_ host: HostDisk, isRaw: Bool) async throws -> Disk.Place {
        if let place = try disks.use(host, in: id) { return place }
        guard let vm = machine?.vm else { throw SandboxError(.wrongState, "sandbox \(id) has no machine") }
        let disk = Disk(
            id: disks.nextID(), file: host.file, isBlockDevice: host.isBlockDevice, readOnly: host.readOnly,
            isRaw: isRaw, settings: plan.disks)
        do {
            let place = try await vm.add(disk)
            disks.attached(host, id: disk.id, at: place)
            log.info("disk given to the guest", metadata: ["sandbox": "\(id)", "disk": "\(host.path)"])
            return place
        } catch { throw SandboxError(.host, "give disk \(host.path) to the guest: \(error)") }
    }

    /// Removes disks that no container uses any more from the machine.
    func releaseDisks(of record: Container) async {
        let given = record.disks
        record.disks = []
        for identity in given {
            guard let disk = disks.release(identity) else { continue }
            // The last container ends the machine too.
            guard !isUnused, let vm = machine?.vm else { continue }
            let unplugged = hardware.take(on: executor) { try await vm.removeDisk(disk) }
            do { try await unplugged.value } catch {
                log.warning(
                    "the guest keeps a disk", metadata: ["sandbox": "\(id)", "disk": "\(disk)", "error": "\(error)"])
            }
        }
    }
}
