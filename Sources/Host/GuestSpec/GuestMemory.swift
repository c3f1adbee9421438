import AgentAPI
import LinuxKernel
import OCISpec

/// Memory of the guest in place of a tmpfs or hugetlbfs of the host.
///
/// Programs of several containers see each other's changes in it. In a file of the host that each maps by its own share
/// they would not. It counts as the container's memory, or as its huge pages.
extension GuestSpec {
    /// A file system of the guest in memory, for one or several containers of a sandbox.
    package struct Memory: Sendable, Equatable {
        /// The device number of the host's.
        package let device: UInt64
        /// A mount point of the host's.
        package let source: String
        /// `tmpfs` or `hugetlbfs`.
        package let fileSystem: String
        /// Options of the guest's mount.
        package let options: [String]
        /// Whether it lives as long as the sandbox, instead of ending with its last container.
        package let isKept: Bool

        package var path: String { GuestPaths.memory(device) }

        package init(
            device: UInt64, source: String, fileSystem: String = "tmpfs", options: [String], isKept: Bool
        ) {
            (self.device, self.source, self.fileSystem) = (device, source, fileSystem)
            (self.options, self.isKept) = (options, isKept)
        }

        init(_ memory: MemoryFileSystem, isKept: Bool) {
            let top = memory.top
            var options = memory.restrictions + ["mode=" + String(top.mode, radix: 8)]
            if let size = memory.size { options.append("size=" + size) }
            if let size = memory.pageSize { options.append("pagesize=" + size) }
            if top.owner != 0 { options.append("uid=\(top.owner)") }
            // A volume's group passes to what is made in it (fsGroup of Kubernetes).
            let group = top.mode & MemoryFileSystem.setGroup != 0 ? StorageOption.group : "gid="
            if top.group != 0 { options.append("\(group)\(top.group)") }
            self.init(
                device: memory.device, source: memory.mountPoints.first ?? "",
                fileSystem: memory.pageSize == nil ? "tmpfs" : "hugetlbfs", options: options, isKept: isKept)
        }
    }

    /// A directory in such memory, for one container.
    package struct MemoryDirectory: Sendable, Equatable {
        /// The path of its `Memory`.
        package let volume: String
        package let directory: VolumeDirectory
        /// The path at which the container's mount finds it.
        package let path: String
    }
}

/// The file systems of the host whose place in the sandbox is decided already.
package struct KnownMemory: Sendable {
    /// By device number.
    package var inGuest: [UInt64: GuestSpec.Memory]
    /// Device numbers of file systems of which the guest has a share.
    package var shared: Set<UInt64>

    package init(inGuest: [UInt64: GuestSpec.Memory] = [:], shared: Set<UInt64> = []) {
        (self.inGuest, self.shared) = (inGuest, shared)
    }
}

/// Decides which mounts of a container are memory of the guest. One file system of the host has one place: all its
/// mounts are the guest's memory, or all are shares.
struct MemoryLookup {
    let known: KnownMemory
    /// Whether the container belongs to a pod, which may make its containers anew.
    let isInPod: Bool
    let find: @Sendable (String) -> MemoryFileSystem?

    struct Found: Equatable {
        let volume: GuestSpec.Memory
        /// nil for the whole file system.
        let directory: VolumeDirectory?
    }

    /// - Returns: what was found, by the mount's index, and each file system once. Also the mounts that would need a
    ///   share of memory that is the guest's already.
    func search(_ mounts: [Mount]) -> (found: [Int: Found], used: [GuestSpec.Memory], refused: Set<Int>) {
        var candidates: [(index: Int, memory: MemoryFileSystem)] = []
        var volumes = known.inGuest
        let binds = mounts.enumerated().compactMap { index, mount in
            mount.isBind ? mount.source.flatMap(find).map { (index: index, mount: mount, memory: $0) } : nil
        }
        // The guest's kernel may not be able to map the owners of its memory: such a file system is shared.
        let mapped = binds.filter(\.mount.mapsOwners)
        let shared = known.shared.union(mapped.map(\.memory.device))
        for (index, mount, memory) in binds where !mount.mapsOwners {
            candidates.append((index, memory))
            guard volumes[memory.device] == nil, !shared.contains(memory.device), mount.movesToGuest(memory)
            else { continue }
            volumes[memory.device] = GuestSpec.Memory(memory, isKept: isInPod || memory.isKubernetesVolume)
        }
        let refused = Set(mapped.filter { known.inGuest[$0.memory.device] != nil }.map(\.index))
        var (found, used): ([Int: Found], [GuestSpec.Memory]) = ([:], [])
        for (index, memory) in candidates {
            guard let volume = volumes[memory.device] else { continue }
            if !used.contains(volume) { used.append(volume) }
            let own = memory.attributes
            let directory = VolumeDirectory(
                place: memory.place, mode: own.mode, owner: own.owner, group: own.group)
            found[index] = Found(volume: volume, directory: memory.place == "/" ? nil : directory)
        }
        return (found, used, refused)
    }
}

extension MemoryFileSystem {
    /// Set-group-ID (inode(7)).
    static let setGroup: UInt32 = 0o2000

    /// Whether it is a volume `emptyDir` of medium Memory or HugePages: kubelet names a directory for the kind of volume.
    var isKubernetesVolume: Bool {
        mountPoints.contains { Files.name(of: Files.parent(of: $0)) == "kubernetes.io~empty-dir" }
    }
}

extension Mount {
    /// Whether memory of the host that is bound here moves into the guest's memory. That is a pod's volume in memory,
    /// or what a manager has made for /dev/shm. Files in it stay where they are, except in huge pages: the guest has
    /// its own. Directories alone are made by kubelet, for `subPath`.
    package func movesToGuest(_ memory: MemoryFileSystem) -> Bool {
        if memory.isKubernetesVolume { return memory.content != .files || memory.pageSize != nil }
        guard memory.pageSize == nil else { return false }
        return destination == "/dev/shm" && source != destination && memory.place == "/" && memory.content == .nothing
    }
}
