import AgentAPI
import Cleanup
import LinuxKernel
import OCISpec

/// The mounts of a container as the guest makes them, and the host's resources for each.
struct GuestMounts {
    private(set) var mounts: [Mount] = []
    private(set) var shares: [GuestSpec.HostPathShare] = []
    private(set) var disks: [GuestSpec.Disk] = []
    private(set) var sockets: [GuestSpec.Socket] = []
    private(set) var memories: [GuestSpec.Memory] = []
    private(set) var memoryDirectories: [GuestSpec.MemoryDirectory] = []
    /// Destinations of binds that were left out: for devices of the host, or below paths of the guest's own kernel.
    private(set) var dropped: [String] = []
    /// Destinations of read-only binds below which there are too many mounts: all of those are read-only too.
    private(set) var closed: [String] = []

    private let container: String
    private let paths: SandboxPaths
    /// Whether the container may use all devices: those of the host are dropped (`GuestSpec`).
    private let privileged: Bool
    /// The file to name in errors.
    private let file: String
    private let kind: @Sendable (String) -> Files.Kind?
    /// Has the ids by which mounts map that name none.
    private let linux: OCISpec.Linux?
    private let mountTable: @Sendable () -> [MountEntry]

    /// - Parameter memory: finds the guest's memory for a mount.
    init(
        _ original: [Mount], container: String, paths: SandboxPaths, linux: OCISpec.Linux?, privileged: Bool,
        file: String, kind: @escaping @Sendable (String) -> Files.Kind?, memory: MemoryLookup,
        mountTable: @escaping @Sendable () -> [MountEntry]
    ) throws(SpecError) {
        (self.container, self.paths, self.file, self.kind) = (container, paths, file, kind)
        (self.privileged, self.mountTable, self.linux) = (privileged, mountTable, linux)
        let memory = memory.search(original)
        memories = memory.used
        for (index, mount) in original.enumerated() {
            if let found = memory.found[index] {
                use(found, mount, index)
                continue
            }
            if memory.refused.contains(index) {
                throw SpecError(
                    file, "mounts[\(index)].source",
                    "\(mount.source ?? ""): this memory is the guest's, which can't map the ids of its files")
            }
            try add(mount, index)
            // The guest's /dev replaces the host's, so the mounts below the host's /dev are missing: adds the standard ones.
            guard mount.destination == "/dev", mount.guestsOwn != nil else { continue }
            mounts += (Spec.example.mounts ?? []).filter { own in
                own.destination.hasPrefix("/dev/") && !original.contains { $0.destination == own.destination }
            }
        }
    }

    private mutating func add(_ mount: Mount, _ index: Int) throws(SpecError) {
        guard let source = mount.source else { return mounts.append(mount) }
        if let disk = GuestSpec.Disk(mount, index: index, container: container) {
            try refuseOwners(of: mount, index)
            disks.append(disk)
            if let mount = disk.mount(at: mount.destination) { mounts.append(mount) }
            return
        }
        guard mount.isBind else {
            guard mount.isOverlay else { return mounts.append(mount) }
            return share(mount, index)
        }
        let found = kind(source)
        if found == .socket {
            let path = GuestPaths.socket(of: container, index: index)
            sockets.append(GuestSpec.Socket(source: source, path: path))
            // Its clients are known by the container's own ids.
            return mounts.append(
                Mount(
                    destination: mount.destination, type: "bind", source: path, options: mount.withoutOwners.options))
        }
        if let own = mount.guestsOwn { return mounts.append(own) }
        guard !mount.destination.hasPrefix("/proc/"), !mount.destination.hasPrefix("/sys/") else {
            return dropped.append(mount.destination)
        }
        guard !Files.isProc(source) else {
            throw SpecError(
                file, "mounts[\(index)].source",
                "\(source) is the host kernel's: a guest would read its files as empty; leave the mount out, or mount type proc"
            )
        }
        // The kind is nil for a source that exists only in the manager's mount namespace.
        if let found, found != .file, found != .directory { try refuseOwners(of: mount, index) }
        switch found {
        case .blockDevice where privileged && mount.destination.hasPrefix("/dev/"):
            return dropped.append(mount.destination)
        case .blockDevice:
            disks.append(
                GuestSpec.Disk(source: .path(source), use: .device(mount.destination), readOnly: mount.isReadOnly))
            // The agent replaces the source by the guest's device.
            return mounts.append(mount)
        case .characterDevice(let major, let minor):
            let device = OCISpec.Linux.Device(type: "c", path: source, major: major, minor: minor)
            guard device.isUniversal else {
                if privileged { return dropped.append(mount.destination) }
                throw SpecError(file, "mounts[\(index)].source", device.refusal)
            }
        default: break
        }
        share(mount, index)
    }

    private func refuseOwners(of mount: Mount, _ index: Int) throws(SpecError) {
        guard mount.mapsOwners else { return }
        throw SpecError(
            file, "mounts[\(index)].source", "\(mount.source ?? ""): only files and directories have ids to map")
    }

    private mutating func use(_ memory: MemoryLookup.Found, _ mount: Mount, _ index: Int) {
        var path = memory.volume.path
        if let directory = memory.directory {
            path = GuestPaths.memoryDirectory(of: container, index: index)
            memoryDirectories.append(
                GuestSpec.MemoryDirectory(volume: memory.volume.path, directory: directory, path: path))
        }
        mounts.append(Mount(destination: mount.destination, type: "bind", source: path, options: mount.options))
    }

    private mutating func share(_ mount: Mount, _ index: Int) {
        let mounted = paths.sharedMount(of: container, index: index)
        let layers = mount.isOverlay ? mount.options : nil
        let source = Files.real(mount.source ?? "") ?? Files.absolute(mount.source ?? "")
        let writable = mount.isReadOnlyOnTop ? writableMounts(below: source, mount) : []
        shares.append(
            GuestSpec.HostPathShare(
                source: mount.source ?? "", mounted: mounted, readOnly: mount.isReadOnly,
                recursive: mount.isRecursive, layers: layers, writableBelow: !writable.isEmpty,
                owners: OwnerMap(mount, in: linux)))
        // The host maps the owners.
        var rewritten = mount.withoutOwners
        rewritten.type = "bind"
        rewritten.source = GuestPaths.path(of: mounted, below: paths.mounts)
        if layers != nil { rewritten.options = (mount.options ?? []).filter { !$0.mentions("=") } + ["bind"] }
        mounts.append(rewritten)
        // The guest sees one file system: each writable part of it gets a mount of its own over the read-only one.
        for below in writable {
            let rest = below.mountPoint.dropFirst(source == "/" ? 0 : source.utf8.count)
            mounts.append(
                Mount(
                    destination: mount.destination + rest, type: "bind", source: (rewritten.source ?? "") + rest,
                    options: ["bind"]))
        }
    }

    /// The maximum of mounts below a read-only bind that are made writable one by one.
    private static let maxMountsBelow = 64

    /// The mounts below a bind whose own mount alone is read-only, as far as they can be written to.
    private mutating func writableMounts(below source: String, _ mount: Mount) -> [MountEntry] {
        let found = Mounts.below(source, table: mountTable()).filter {
            !$0.options.contains("ro") && !$0.superOptions.contains("ro")
        }
        guard found.count <= Self.maxMountsBelow else {
            closed.append(mount.destination)
            return []
        }
        return found
    }
}

extension Mount {
    package var isReadOnly: Bool { isReadOnlyBelow || options?.contains("ro") ?? false }
    /// Whether all mounts below are read-only too.
    private var isReadOnlyBelow: Bool { options?.contains("rro") ?? false }
    /// Whether mounts below are copied and keep their own flags.
    var isReadOnlyOnTop: Bool { isReadOnly && !isReadOnlyBelow && isRecursive }
    /// A bind with all that is mounted below its source.
    package var isRecursive: Bool { options?.contains("rbind") ?? false }

    /// Directories of the host, in layers: Podman's volumes that keep no change (`-v …:O`), and images as volumes.
    package var isOverlay: Bool { type == "overlay" }

    /// The guest's own file system in place of a bind of the host kernel's (/proc, /sys, /dev and so on); nil for any
    /// other mount.
    package var guestsOwn: Mount? {
        let always = ["/proc", "/sys", "/sys/fs/cgroup"]
        guard isBind, always.contains(destination) || destination == source,
            var own = Spec.example.mounts?.first(where: { $0.destination == destination })
        else { return nil }
        // Memory is as large as the guest's; read-only is what was asked for.
        let isMemory = destination == "/dev/shm"
        own.options = own.options?.filter { $0 != "ro" && !(isMemory && $0.hasPrefix("size=")) }
        if isReadOnly { own.options = (own.options ?? []) + ["ro"] }
        return own
    }
}

extension OwnerMap {
    /// - Returns: nil for a mount that shows its files' own ids.
    fileprivate init?(_ mount: Mount, in linux: OCISpec.Linux?) {
        guard mount.mapsOwners else { return nil }
        func ranges(_ own: [IDMapping]?, _ container: [IDMapping]?) -> [OwnerMap.Range] {
            let mappings = own?.isEmpty == false ? own : container
            return (mappings ?? []).map { Range(first: $0.containerID, shown: $0.hostID, count: $0.size) }
        }
        self.init(
            users: ranges(mount.uidMappings, linux?.uidMappings),
            groups: ranges(mount.gidMappings, linux?.gidMappings),
            isRecursive: mount.options?.contains("ridmap") ?? false)
    }
}

extension Mount {
    /// The mount without changes of owners.
    fileprivate var withoutOwners: Mount {
        var mount = self
        (mount.uidMappings, mount.gidMappings) = (nil, nil)
        mount.options?.removeAll { $0 == "idmap" || $0 == "ridmap" }
        return mount
    }
}
