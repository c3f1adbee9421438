import AgentAPI
import LinuxKernel
import OCISpec

/// What of a bundle's specification goes to the guest, with host paths replaced by guest paths.
///
/// Dropped on the way: what is done on the host (its hooks), the network namespace (the VM is one), numbers of the host's
/// processors, and what the wall of the VM stands for (security modules' profiles of the host). What can be done neither here
/// nor there is refused. Everything else is the workload's and is kept.
package struct GuestSpec: Sendable {
    package private(set) var spec: Spec
    /// Host paths to share, each with the path at which it is mounted for that.
    package private(set) var shares: [Share]
    /// The container lives in the pid namespace of the sandbox's first container.
    package let sharesProcesses: Bool
    /// Disks of the host that the machine gets for it.
    package let disks: [Disk]
    /// Sockets of the host that its programs may connect to.
    package let sockets: [Socket]
    /// File systems in the guest's memory that it may share with others of its sandbox.
    package let memories: [Memory]
    /// Devices that were left out of a privileged container.
    package let droppedDevices: Int
    /// Destinations of binds that were left out: of devices of the host, or among the files of the guest's own kernel.
    package let droppedMounts: [String]

    package struct Share: Sendable, Equatable {
        package let source: String
        package fileprivate(set) var mounted: String
        package let readOnly: Bool
        /// With all that is mounted below the source.
        package let recursive: Bool
        /// Options of the overlay that is mounted for it; nil: it is the source.
        package var layers: [String]?
    }

    package struct Memory: Sendable, Equatable {
        package let path: String
        /// nil: as large as the guest's kernel lets it become.
        package let bytes: UInt64?

        var storage: Grpc_Storage {
            var storage = Grpc_Storage()
            (storage.driver, storage.source, storage.fstype, storage.mountPoint) = ("ephemeral", "shm", "tmpfs", path)
            storage.options = ["mode=1777"] + (bytes.map { ["size=\($0)"] } ?? [])
            return storage
        }
    }

    package struct Socket: Sendable, Equatable {
        package let source: String
        /// Where the agent listens in its place.
        package let path: String
    }

    /// - Parameters:
    ///   - rootDisk: what the container's root is, where that is a disk.
    ///   - joins: by kind of namespace, the container of the same guest whose it is.
    ///   - guestSELinux: labels go to the guest (`disable_guest_selinux` is false).
    ///   - guestSeccomp: filters of system calls do too (`disable_guest_seccomp` is false).
    package init(
        _ original: Spec, container: String, paths: SandboxPaths, rootDisk: DiskImage? = nil,
        joins: [String: String] = [:], guestSELinux: Bool = false, guestSeccomp: Bool = true,
        source: String = "config.json",
        kind: @escaping @Sendable (String) -> Files.Kind? = { Files.kind(of: $0) },
        memory: @escaping @Sendable (String) -> Files.EmptyMemory? = { Files.emptyMemory(at: $0) }
    ) throws(SpecError) {
        var spec = original
        var disks: [Disk] = []
        spec.root?.path = GuestPaths.rootfs(of: container)
        if let rootDisk {
            let path = GuestPaths.rootDisk(of: container)
            disks.append(Disk(rootDisk, mountPoint: path))
            spec.root?.path = path
        }
        spec.hooks = original.hooks?.startContainer.map { Hooks(startContainer: $0) }
        let (namespaces, sharesProcesses) = try Self.namespaces(original, joins, source)
        spec.linux?.namespaces = namespaces
        self.sharesProcesses = sharesProcesses
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
        // Without a call that asks it, there is no listener.
        spec.linux?.seccomp?.listenerPath = nil
        spec.linux?.seccomp?.listenerMetadata = nil
        spec.process?.keepHostProfiles(guestSELinux: guestSELinux)
        if !guestSELinux {
            spec.linux?.mountLabel = nil
        } else if let label = original.linux?.mountLabel, !label.isEmpty {
            throw SpecError(source, "linux.mountLabel", "\"\(label)\": shared files keep the host's labels")
        }
        let guest = try GuestMounts(
            original.mounts ?? [], container: container, paths: paths,
            privileged: Self.isPrivileged(original), file: source, kind: kind, memory: memory)
        spec.mounts = original.mounts.map { _ in guest.mounts }
        disks += guest.disks
        self.spec = spec
        shares = guest.shares
        self.disks = disks
        sockets = guest.sockets
        memories = guest.memories
        droppedMounts = guest.dropped
    }

    /// - Parameter places: by the path at which a share was to be mounted, the one at which it is.
    func moved(_ places: [String: String], paths: SandboxPaths) -> GuestSpec {
        var moved = self
        let inGuest = Dictionary(
            uniqueKeysWithValues: places.map { wanted, place in
                (GuestPaths.path(of: wanted, below: paths.mounts), GuestPaths.path(of: place, below: paths.mounts))
            })
        for index in shares.indices {
            moved.shares[index].mounted = places[shares[index].mounted] ?? shares[index].mounted
        }
        moved.spec.mounts = spec.mounts?.map { mount in
            var mount = mount
            mount.source = mount.source.map { inGuest[$0] ?? $0 }
            return mount
        }
        return moved
    }

    /// What the agent says, with the host's paths in the place of those that it knows.
    func inHostsWords(_ message: String, paths: SandboxPaths) -> String {
        shares.reduce(message) { message, share in
            message.replacing(GuestPaths.path(of: share.mounted, below: paths.mounts), by: share.source)
        }
    }

    /// A path leads to a namespace of the host. In a pod it is the sandbox's, for which the guest's own stands.
    private static func namespaces(_ spec: Spec, _ joins: [String: String], _ source: String) throws(SpecError) -> (
        kept: [OCISpec.Linux.Namespace]?, sharesProcesses: Bool
    ) {
        guard let given = spec.linux?.namespaces else { return (nil, false) }
        var kept: [OCISpec.Linux.Namespace] = []
        var sharesProcesses = false
        for (index, namespace) in given.enumerated() where namespace.type != "network" {
            guard let path = namespace.path, !path.isEmpty else {
                kept.append(namespace)
                continue
            }
            if let container = joins[namespace.type] {
                let path = ContainerNamespace.path(of: container, namespace.type)
                kept.append(OCISpec.Linux.Namespace(type: namespace.type, path: path))
                continue
            }
            guard PodRole(spec) != .none else {
                throw SpecError(
                    source, "linux.namespaces[\(index)].path",
                    "\(path) is the host's: a container in a machine of its own can't join it; leave the path out")
            }
            switch namespace.type {
            case "pid": sharesProcesses = true
            // The sandbox's own, which the guest has anyway.
            case "ipc", "uts": break
            default: kept.append(OCISpec.Linux.Namespace(type: namespace.type))
            }
        }
        return (kept, sharesProcesses)
    }

    private static func isPrivileged(_ spec: Spec) -> Bool {
        (spec.linux?.resources?.devices ?? []).contains {
            $0.allow && ["a", ""].contains($0.type ?? "a") && $0.major ?? -1 < 0 && $0.minor ?? -1 < 0
        }
    }

    /// Devices of the host don't exist in the guest, but for disks, which the machine gets. A privileged container lists all there are,
    /// and goes without, but for those that were asked for beside: under a name that the host doesn't have, or once more.
    private static func devices(_ spec: Spec, _ source: String, _ kind: (String) -> Files.Kind?) throws(SpecError) -> (
        kept: [OCISpec.Linux.Device]?, disks: [Disk], dropped: Int
    ) {
        guard let given = spec.linux?.devices else { return (nil, [], 0) }
        let isPrivileged = isPrivileged(spec)
        var kept: [OCISpec.Linux.Device] = []
        var (disks, dropped): ([Disk], Int) = ([], 0)
        var seen: Set<String> = []
        for (index, device) in given.enumerated() {
            if !device.isUniversal, isPrivileged, seen.insert(device.path).inserted, kind(device.path) != nil {
                dropped += 1
                continue
            }
            kept.append(device)
            guard !device.isUniversal else { continue }
            if device.type == "b" {
                disks.append(Disk(device, rules: spec.linux?.resources?.devices ?? []))
                continue
            }
            throw SpecError(source, "linux.devices[\(index)]", device.refusal)
        }
        return (kept, disks, dropped)
    }

    /// - Parameter disks: those that the guest gets: their limits hold there.
    private static func refuseDevices(of limits: OCISpec.Linux.Resources.BlockIO?, but disks: [Disk], _ source: String)
        throws(SpecError)
    {
        let weights = (limits?.weightDevice ?? []).map { ($0.major, $0.minor) }
        func numbers(_ list: [OCISpec.Linux.Resources.BlockIO.ThrottleDevice]?) -> [(Int64, Int64)] {
            (list ?? []).map { ($0.major, $0.minor) }
        }
        let lists = [
            ("weightDevice", weights), ("throttleReadBpsDevice", numbers(limits?.throttleReadBpsDevice)),
            ("throttleWriteBpsDevice", numbers(limits?.throttleWriteBpsDevice)),
            ("throttleReadIOPSDevice", numbers(limits?.throttleReadIOPSDevice)),
            ("throttleWriteIOPSDevice", numbers(limits?.throttleWriteIOPSDevice)),
        ]
        for (name, list) in lists {
            for (major, minor) in list
            where !disks.contains(where: { $0.source == .number(major: major, minor: minor) }) {
                throw SpecError(
                    source, "linux.resources.blockIO." + name,
                    "\(major):\(minor) is a disk of the host that the container doesn't have: give it with linux.devices"
                )
            }
        }
    }
}

/// What a container is to a pod, as containerd's CRI and CRI-O tell it.
package enum PodRole: Equatable, Sendable {
    case none, sandbox, container

    package init(_ spec: Spec) {
        let names = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]
        switch names.lazy.compactMap({ spec.annotations?[$0] }).first {
        case "sandbox": self = .sandbox
        case "container": self = .container
        default: self = .none
        }
    }

    /// The sandbox that a pod's container belongs to.
    package static func sandboxID(in annotations: [String: String]) -> String? {
        annotations["io.kubernetes.cri.sandbox-id"] ?? annotations["io.kubernetes.cri-o.SandboxID"]
    }
}

extension OCISpec.Process {
    /// Leaves out what the host's security modules are to do: of a container's first process and of those that join it.
    mutating func keepHostProfiles(guestSELinux: Bool) {
        if !guestSELinux { selinuxLabel = nil }
        if let profile = apparmorProfile, Self.isManagersDefault(profile) { apparmorProfile = nil }
    }

    /// Profiles that managers give every container of a host with AppArmor. The host's kernel is not the container's: the VM's
    /// wall stands for them. Any other profile was chosen on purpose, and goes to the guest.
    private static func isManagersDefault(_ profile: String) -> Bool {
        let base = profile.hasPrefix("localhost/") ? "" : profile
        return ["docker-default", "cri-containerd.apparmor.d", "crio-default", "default"].contains(base)
            || base.hasPrefix("containers-default-")
    }
}
