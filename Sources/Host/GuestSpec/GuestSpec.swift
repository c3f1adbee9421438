import AgentAPI
import Cleanup
import LinuxKernel
import OCISpec
import Pod

/// The part of a bundle's specification that goes to the guest, with host paths replaced by guest paths.
///
/// Left out: hooks of the host, the network namespace (the VM is one), and the host's processor numbers. So are SELinux
/// labels, unless the guest is to apply them. The guest's own AppArmor profile replaces the managers' default ones.
/// Requests that neither side can meet are refused. Everything else is kept.
///
/// The order of the rewrites, from config.json to the process in the guest:
/// 1. `Spec.load(bundle:)` makes paths absolute against the bundle.
/// 2. `GuestSpec.init` rewrites root, hooks, namespaces, processors, devices, security profiles, and adds the caller's
///    limits; `GuestMounts` rewrites the mounts.
/// 3. `moved` replaces planned mount points by the real ones, as one share serves all mounts of a directory.
/// 4. The agent resolves joined namespaces and disks' device numbers, and sets up the container.
package struct GuestSpec: Sendable {
    package private(set) var spec: Spec
    /// Host paths to share, each with the planned mount point of its share.
    package private(set) var shares: [HostPathShare]
    /// The container lives in the pid namespace of the sandbox's first container.
    package let sharesProcesses: Bool
    /// Disks of the host that the machine gets for the container.
    package let disks: [Disk]
    /// Sockets of the host that its programs may connect to.
    package let sockets: [Socket]
    /// File systems in the guest's memory that the container may share with others of its sandbox.
    package let memories: [Memory]
    /// Directories in them that the container mounts.
    package let memoryDirectories: [MemoryDirectory]
    /// Devices that were left out of a privileged container.
    package let droppedDevices: Int
    /// Destinations of binds that were left out: for devices of the host, or below paths of the guest's own kernel.
    package let droppedMounts: [String]
    /// Destinations of read-only binds below which there are too many mounts: all of those are read-only too.
    package let closedMounts: [String]

    /// A path of the host that the guest gets.
    package struct HostPathShare: Sendable, Equatable {
        package init(
            source: String, mounted: String, readOnly: Bool, recursive: Bool, layers: [String]? = nil,
            writableBelow: Bool = false, owners: OwnerMap? = nil
        ) {
            (self.source, self.mounted, self.readOnly) = (source, mounted, readOnly)
            (self.recursive, self.layers, self.writableBelow) = (recursive, layers, writableBelow)
            self.owners = owners
        }

        package let source: String
        package fileprivate(set) var mounted: String
        package let readOnly: Bool
        /// Mounts below the source are shared too.
        package let recursive: Bool
        /// Options of the overlay to mount; nil: the source itself is shared.
        package var layers: [String]?
        /// `readOnly` is for the source's own mount alone; those below it keep their own flags.
        package let writableBelow: Bool
        /// Changes of the files' owners; nil: they are the host's.
        package let owners: OwnerMap?
    }

    package struct Socket: Sendable, Equatable {
        package let source: String
        /// The path at which the agent listens in its place.
        package let path: String
    }

    /// - Parameters:
    ///   - rootDisk: the container's root file system, where that is a disk.
    ///   - limits: the caller's resource limits; nil: those of the guest's init stay.
    ///   - joins: by type of namespace, the container of the same sandbox whose namespace it is.
    ///   - guestSELinux: labels go to the guest (`disable_guest_selinux` is false).
    ///   - guestSeccomp: filters of system calls go to the guest (`disable_guest_seccomp` is false).
    ///   - known: what the sandbox has of the host's memory file systems already.
    /// - Throws: `SpecError` with the field that neither side can meet.
    package init(
        _ original: Spec, container: String, paths: SandboxPaths, rootDisk: DiskImage? = nil,
        limits: ResourceLimits? = nil, joins: [String: String] = [:], guestSELinux: Bool = false,
        guestSeccomp: Bool = true, known: KnownMemory = KnownMemory(), source: String = "config.json",
        kind: @escaping @Sendable (String) -> Files.Kind? = { Files.kind(of: $0) },
        memory: @escaping @Sendable (String) -> MemoryFileSystem? = MemoryFileSystem.finder(),
        mountTable: @escaping @Sendable () -> [MountEntry] = MountTable.once()
    ) throws(SpecError) {
        try original.refuseHostsKernel(source: source)
        var spec = original
        var disks: [Disk] = []
        spec.root?.path = GuestPaths.rootfs(of: container)
        if let rootDisk {
            let path = GuestPaths.rootDisk(of: container)
            disks.append(Disk(rootDisk, mountPoint: path))
            spec.root?.path = path
        }
        spec.hooks = original.hooks?.startContainer.map { Hooks(startContainer: $0) }
        let namespaces = try GuestNamespaces(original, joins: joins, source: source)
        spec.linux?.namespaces = namespaces.list
        sharesProcesses = namespaces.sharesProcesses
        if namespaces.hasPodsName { (spec.hostname, spec.domainname) = (nil, nil) }
        spec.linux?.resources?.cpu?.cpus = nil
        spec.linux?.resources?.cpu?.mems = nil
        let (devices, given, dropped) = try Self.devices(original, source, kind)
        spec.linux?.devices = devices
        disks += given
        try Self.refuseDevices(of: original.linux?.resources?.blockIO, but: given, source)
        droppedDevices = dropped
        if guestSeccomp {
            try original.linux?.seccomp?.refuseListener(source: source)
        } else {
            spec.linux?.seccomp = nil
        }
        // Without seccomp rules that notify it, there is no listener.
        spec.linux?.seccomp?.listenerPath = nil
        spec.linux?.seccomp?.listenerMetadata = nil
        if let limits { spec.process?.addLimits(limits) }
        spec.process?.replaceHostProfiles(guestSELinux: guestSELinux)
        if !guestSELinux {
            spec.linux?.mountLabel = nil
        } else if let label = original.linux?.mountLabel, !label.isEmpty {
            throw SpecError(source, "linux.mountLabel", "\"\(label)\": shared files keep the host's labels")
        }
        let guest = try GuestMounts(
            original.mounts ?? [], container: container, paths: paths, linux: original.linux,
            privileged: Self.isPrivileged(original), file: source, kind: kind,
            memory: MemoryLookup(known: known, isInPod: PodRole(original) != .none, find: memory),
            mountTable: mountTable)
        spec.mounts = original.mounts.map { _ in guest.mounts }
        disks += guest.disks
        self.spec = spec
        shares = guest.shares
        self.disks = disks
        sockets = guest.sockets
        (memories, memoryDirectories) = (guest.memories, guest.memoryDirectories)
        droppedMounts = guest.dropped
        closedMounts = guest.closed
    }

    /// A share's real place.
    package struct SharedPlace: Sendable, Equatable {
        /// Its path on the host: a mount point, or below one.
        package let mounted: String
        /// Whether the guest must forbid writing, though the specification allows it: the source's own mount is
        /// read-only, and others may write through the same share.
        package let isReadOnly: Bool

        package init(mounted: String, isReadOnly: Bool = false) {
            (self.mounted, self.isReadOnly) = (mounted, isReadOnly)
        }
    }

    /// Replaces planned mount points of shares by the real places.
    /// - Parameter places: the real place for each planned mount point.
    package func moved(_ places: [String: SharedPlace], paths: SandboxPaths) -> GuestSpec {
        var moved = self
        let inGuest = Dictionary(
            uniqueKeysWithValues: places.map { (GuestPaths.path(of: $0.key, below: paths.mounts), $0.value) })
        let sources = inGuest.mapValues { GuestPaths.path(of: $0.mounted, below: paths.mounts) }
        for index in shares.indices {
            moved.shares[index].mounted = places[shares[index].mounted]?.mounted ?? shares[index].mounted
        }
        moved.spec.mounts = spec.mounts?.map { mount in
            var mount = mount
            guard let source = mount.source else { return mount }
            if inGuest[source]?.isReadOnly == true {
                mount.options = (mount.options ?? []).filter { $0 != "rw" } + ["ro"]
            }
            mount.source = Self.place(of: source, sources)
            return mount
        }
        return moved
    }

    /// The real path of a share, or of a mount below one.
    private static func place(of path: String, _ places: [String: String]) -> String {
        if let place = places[path] { return place }
        guard let parent = places.first(where: { path.hasPrefix($0.key + "/") }) else { return path }
        return parent.value + path.dropFirst(parent.key.count)
    }

    /// Replaces guest paths by the host's in a message of the agent, for readers who know only the host's.
    /// - Returns: the message with the host's paths.
    package func translatePaths(in message: String, paths: SandboxPaths) -> String {
        // The longest first: it may begin with another one.
        shares.sorted { $0.mounted.utf8.count > $1.mounted.utf8.count }.reduce(message) { message, share in
            message.replacing(GuestPaths.path(of: share.mounted, below: paths.mounts), by: share.source)
        }
    }
}
