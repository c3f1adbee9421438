import AgentAPI
import Hypervisor
import Storage

/// A disk of the host that the machine has, for one container or for several.
struct AttachedDisk: Sendable {
    let id: String
    let place: Disk.Place
    let readOnly: Bool
    var users = 0
}

extension Sandbox {
    /// Gives the machine the disks of a container, and says to the agent where they are.
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
        let place = try await hardware.take(on: executor) { [weak self] in try await self?.plugIn(host) }.value
        guard let place else { throw SandboxError(.wrongState, "sandbox \(id) is gone") }
        record.disks.append(host.identity)
        return place
    }

    /// The same disk once, however many use it.
    private func plugIn(_ host: HostDisk) async throws -> Disk.Place {
        if var disk = disks[host.identity] {
            guard host.readOnly || !disk.readOnly else {
                throw SandboxError(
                    .wrongState, "\(host.path) is in use in sandbox \(id) already, where it can't be written")
            }
            disk.users += 1
            disks[host.identity] = disk
            return disk.place
        }
        guard let machine else { throw SandboxError(.wrongState, "sandbox \(id) has no machine") }
        lastDisk += 1
        let disk = Disk(
            id: "disk\(lastDisk)", file: host.file, isBlockDevice: host.isBlockDevice, readOnly: host.readOnly,
            settings: plan.disks)
        do {
            let place = try await machine.add(disk)
            disks[host.identity] = AttachedDisk(id: disk.id, place: place, readOnly: host.readOnly, users: 1)
            log.info("disk given to the guest", metadata: ["sandbox": "\(id)", "disk": "\(host.path)"])
            return place
        } catch { throw SandboxError(.host, "give disk \(host.path) to the guest: \(error)") }
    }

    /// Takes back what nobody uses any more.
    func releaseDisks(of record: Container) async {
        let given = record.disks
        record.disks = []
        for identity in given {
            guard var disk = disks[identity] else { continue }
            disk.users -= 1
            disks[identity] = disk.users > 0 ? disk : nil
            // The last container takes the machine with it.
            guard disk.users == 0, !containers.isEmpty, let machine else { continue }
            let unplugged = hardware.take(on: executor) { [id = disk.id] in try await machine.removeDisk(id) }
            do { try await unplugged.value } catch {
                log.warning("disk \(disk.id) was not taken back: \(error)", metadata: ["sandbox": "\(id)"])
            }
        }
    }
}
