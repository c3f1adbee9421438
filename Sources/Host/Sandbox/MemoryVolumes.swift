import AgentAPI
import GuestSpec
import LinuxKernel

/// The memory of the guest that stands in place of the host's, and its users.
struct MemoryVolumes: Sendable {
    private struct Volume: Sendable {
        let memory: GuestSpec.Memory
        /// A copy of the host's mount, without a mount point. The kernel gives the device number to no other file
        /// system meanwhile. It is nil where this process sees no such mount.
        let host: SharedDescriptor?
        var users = 0
    }
    private var volumes: [UInt64: Volume] = [:]

    /// By the device number of the host's file system.
    var known: [UInt64: GuestSpec.Memory] { volumes.mapValues(\.memory) }

    /// Adds a user, with its list of what it uses.
    mutating func use(_ memory: GuestSpec.Memory, for list: inout [GuestSpec.Memory]) {
        var volume = volumes[memory.device] ?? Volume(memory: memory, host: Self.copy(of: memory.source))
        volume.users += 1
        volumes[memory.device] = volume
        list.append(memory)
    }

    private static func copy(of mountPoint: String) -> SharedDescriptor? {
        do { return SharedDescriptor(try Mounts.copy(mountPoint, recursive: false, alone: true)) } catch { return nil }
    }

    /// Removes a user of everything in its list. The agent counts users in the same way.
    mutating func release(_ list: inout [GuestSpec.Memory]) {
        for memory in list {
            volumes[memory.device]?.users -= 1
            if !memory.isKept, volumes[memory.device]?.users == 0 { volumes[memory.device] = nil }
        }
        list = []
    }
}

extension GuestSpec {
    /// The storages of a container's memory in the guest: file systems first, then directories in them.
    var memoryStorages: [Grpc_Storage] { memories.map(Grpc_Storage.init) + memoryDirectories.map(Grpc_Storage.init) }
}

extension Grpc_Storage {
    fileprivate init(_ memory: GuestSpec.Memory) {
        self.init()
        (driver, source, fstype) = (StorageDriver.ephemeral, memory.fileSystem, memory.fileSystem)
        (mountPoint, options, shared) = (memory.path, memory.options, memory.isKept)
    }

    fileprivate init(_ directory: GuestSpec.MemoryDirectory) {
        self.init()
        (driver, source, mountPoint) = (StorageDriver.bind, directory.volume, directory.path)
        driverOptions = directory.directory.options
    }
}
