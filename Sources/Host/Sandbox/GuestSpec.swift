import AgentAPI
import Linux
import OCISpec

/// What of a bundle's specification goes to the guest, with host paths replaced by guest paths.
///
/// Dropped on the way: what is done on the host (its hooks), the network namespace (the VM is one), numbers of the host's
/// processors, and what the wall of the VM stands for (security modules' profiles of the host). What can be done neither here
/// nor there is refused. Everything else is the workload's and is kept.
package struct GuestSpec: Sendable {
    package let spec: Spec
    /// Host paths to share, each with the path at which it is mounted for that.
    package let shares: [Share]
    /// The container lives in the pid namespace of the sandbox's first container.
    package let sharesProcesses: Bool
    /// Disks of the host that the machine gets for it.
    package let disks: [Disk]
    /// Devices that were left out of a privileged container.
    package let droppedDevices: Int

    package struct Share: Sendable, Equatable {
        package let source: String
        package let mounted: String
        package let readOnly: Bool
    }

    /// - Parameters:
    ///   - guestSELinux: labels go to the guest (`disable_guest_selinux` is false).
    ///   - guestSeccomp: filters of system calls do too (`disable_guest_seccomp` is false).
    package init(
        _ original: Spec, container: String, paths: SandboxPaths, guestSELinux: Bool = false, guestSeccomp: Bool = true,
        source: String = "config.json", isBlockDevice: @Sendable (String) -> Bool = { Files.isBlockDevice($0) }
    ) throws(SpecError) {
        var spec = original
        var shares: [Share] = []
        var disks: [Disk] = []
        spec.root?.path = GuestPaths.rootfs(of: container)
        if let hook = original.hooks?.createContainer?.first {
            throw SpecError(
                source, "hooks.createContainer[0]",
                "\(hook.path) of the host can't run inside a container of a guest: use createRuntime (on the host) or startContainer (in the container)"
            )
        }
        spec.hooks = original.hooks?.startContainer.map { Hooks(startContainer: $0) }
        let (namespaces, sharesProcesses) = try Self.namespaces(original, source)
        spec.linux?.namespaces = namespaces
        self.sharesProcesses = sharesProcesses
        spec.linux?.resources?.cpu?.cpus = nil
        spec.linux?.resources?.cpu?.mems = nil
        let (devices, given, dropped) = try Self.devices(original, source)
        spec.linux?.devices = devices
        disks += given
        try Self.refuseDevices(of: original.linux?.resources?.blockIO, but: given, source)
        droppedDevices = dropped
        if !guestSeccomp { spec.linux?.seccomp = nil }
        spec.process?.keepHostProfiles(guestSELinux: guestSELinux)
        if !guestSELinux {
            spec.linux?.mountLabel = nil
        } else if let label = original.linux?.mountLabel, !label.isEmpty {
            throw SpecError(source, "linux.mountLabel", "\"\(label)\": shared files keep the host's labels")
        }
        spec.mounts = original.mounts?.enumerated().compactMap { index, mount in
            guard let source = mount.source else { return mount }
            if let disk = Disk(mount, index: index, container: container) {
                disks.append(disk)
                return disk.mount(at: mount.destination)
            }
            guard mount.isBind else { return mount }
            // These belong to the guest's own kernel; the host's would be a lie there.
            for reserved in ["/proc", "/sys", "/dev"]
            where mount.destination == reserved
                || mount.destination.hasPrefix(reserved + "/") && mount.destination != "/dev/shm"
            {
                return nil
            }
            if isBlockDevice(source) {
                disks.append(
                    Disk(source: .path(source), use: .device(mount.destination), readOnly: mount.isReadOnly))
                // The agent puts the guest's own in the place of the source.
                return mount
            }
            var rewritten = mount
            let mounted = paths.sharedMount(of: container, index: index, destination: mount.destination)
            shares.append(Share(source: source, mounted: mounted, readOnly: mount.isReadOnly))
            rewritten.type = "bind"
            rewritten.source = GuestPaths.path(of: mounted, below: paths.mounts)
            return rewritten
        }
        self.spec = spec
        self.shares = shares
        self.disks = disks
    }

    /// A path leads to a namespace of the host. In a pod it is the sandbox's, for which the guest's own stands.
    private static func namespaces(_ spec: Spec, _ source: String) throws(SpecError) -> (
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

    /// Majors whose devices mean the same in every kernel: memory devices, terminals, and the fixed numbers of misc.
    private static func isUniversal(_ device: OCISpec.Linux.Device) -> Bool {
        switch (device.type, device.major ?? -1, device.minor ?? -1) {
        case ("p", _, _): true
        case ("b", _, _): false
        // From 200 to 249 misc numbers are given out for good: tun, fuse and kin (Documentation/admin-guide/devices.txt).
        case (_, 1, _), (_, 5, _), (_, 10, 200...249), (_, 108, 0): true
        default: false
        }
    }

    /// Devices of the host don't exist in the guest, but for disks, which the machine gets. A privileged container lists all there are,
    /// and goes without.
    private static func devices(_ spec: Spec, _ source: String) throws(SpecError) -> (
        kept: [OCISpec.Linux.Device]?, disks: [Disk], dropped: Int
    ) {
        guard let given = spec.linux?.devices else { return (nil, [], 0) }
        let privileged = (spec.linux?.resources?.devices ?? []).contains {
            $0.allow && ["a", ""].contains($0.type ?? "a") && $0.major ?? -1 < 0 && $0.minor ?? -1 < 0
        }
        if privileged {
            let kept = given.filter(isUniversal)
            return (kept, [], given.count - kept.count)
        }
        var disks: [Disk] = []
        for (index, device) in given.enumerated() where !isUniversal(device) {
            if device.type == "b" {
                disks.append(Disk(device, rules: spec.linux?.resources?.devices ?? []))
                continue
            }
            throw SpecError(
                source, "linux.devices[\(index)]",
                "\(device.path) (\(device.type) \(device.major ?? 0):\(device.minor ?? 0)) belongs to the host and is not in the guest"
            )
        }
        return (given, disks, 0)
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

extension Mount {
    var isBind: Bool { type == "bind" || options?.contains { $0 == "bind" || $0 == "rbind" } ?? false }
    var isReadOnly: Bool { options?.contains("ro") ?? false }
}

extension Grpc_Spec {
    /// For an agent that takes these messages alone.
    /// - Throws: for a field that they have no place for.
    package init(checking spec: Spec, source: String) throws(SpecError) {
        let (process, linux) = (spec.process, spec.linux)
        let kinds = Set((linux?.namespaces ?? []).map(\.type))
        let missing: [(String, Bool)] = [
            ("domainname", !(spec.domainname ?? "").isEmpty),
            ("hooks.startContainer", spec.hooks?.startContainer != nil),
            ("process.user.umask", process?.user.umask != nil), ("process.scheduler", process?.scheduler != nil),
            ("process.ioPriority", process?.ioPriority != nil),
            ("process.execCPUAffinity", process?.execCPUAffinity != nil),
            ("linux.namespaces (user)", kinds.contains("user")), ("linux.namespaces (time)", kinds.contains("time")),
            ("linux.seccomp.defaultErrnoRet", linux?.seccomp?.defaultErrnoRet != nil),
            ("linux.personality", linux?.personality != nil),
            ("linux.devices", !(linux?.devices ?? []).isEmpty),
            ("linux.resources.unified", linux?.resources?.unified != nil),
            ("linux.resources.rdma", linux?.resources?.rdma != nil),
            ("linux.resources.blockIO", linux?.resources?.blockIO != nil),
        ]
        if let field = missing.first(where: \.1)?.0 {
            throw SpecError(
                source, field, "the agent in the guest's image has no message for it; use this release's agent")
        }
        self.init(spec)
    }

    /// The wire form of a specification (oci.proto).
    package init(_ spec: Spec) {
        self.init()
        version = spec.ociVersion
        if let process = spec.process { self.process = Grpc_Process(process) }
        if let root = spec.root {
            self.root.path = root.path
            self.root.readonly = root.readonly ?? false
        }
        hostname = spec.hostname ?? ""
        annotations = spec.annotations ?? [:]
        mounts = (spec.mounts ?? []).map { mount in
            var wire = Grpc_Mount()
            wire.destination = mount.destination
            wire.source = mount.source ?? ""
            wire.type = mount.type ?? ""
            wire.options = mount.options ?? []
            return wire
        }
        guard let linux = spec.linux else { return }
        self.linux.sysctl = linux.sysctl ?? [:]
        self.linux.cgroupsPath = linux.cgroupsPath ?? ""
        self.linux.rootfsPropagation = linux.rootfsPropagation ?? ""
        self.linux.maskedPaths = linux.maskedPaths ?? []
        self.linux.readonlyPaths = linux.readonlyPaths ?? []
        self.linux.namespaces = (linux.namespaces ?? []).map { namespace in
            var wire = Grpc_LinuxNamespace()
            wire.type = namespace.type
            wire.path = namespace.path ?? ""
            return wire
        }
        if let seccomp = linux.seccomp { self.linux.seccomp = Grpc_LinuxSeccomp(seccomp) }
        if let resources = linux.resources { self.linux.resources = Grpc_LinuxResources(resources) }
    }
}

extension Grpc_LinuxSeccomp {
    init(_ seccomp: OCISpec.Linux.Seccomp) {
        self.init()
        defaultAction = seccomp.defaultAction
        architectures = seccomp.architectures ?? []
        flags = seccomp.flags ?? []
        syscalls = (seccomp.syscalls ?? []).map { rule in
            var call = Grpc_LinuxSyscall()
            call.names = rule.names
            call.action = rule.action
            if let errno = rule.errnoRet { call.errnoRet = .errnoret(errno) }
            call.args = (rule.args ?? []).map { argument in
                var wire = Grpc_LinuxSeccompArg()
                (wire.index, wire.value) = (UInt64(argument.index), argument.value)
                (wire.valueTwo, wire.op) = (argument.valueTwo ?? 0, argument.op)
                return wire
            }
            return call
        }
    }
}

extension Grpc_LinuxResources {
    /// Processor numbers are the host's and mean nothing in a guest.
    package init(_ resources: OCISpec.Linux.Resources) {
        self.init()
        if let memory = resources.memory {
            self.memory.limit = memory.limit ?? 0
            self.memory.swap = memory.swap ?? 0
            self.memory.reservation = memory.reservation ?? 0
        }
        if let cpu = resources.cpu {
            self.cpu.shares = cpu.shares ?? 0
            self.cpu.quota = cpu.quota ?? 0
            self.cpu.period = cpu.period ?? 0
        }
        if let pids = resources.pids { self.pids.limit = pids.limit ?? 0 }
    }
}

extension Grpc_Process {
    package init(_ process: OCISpec.Process) {
        self.init()
        terminal = process.terminal ?? false
        if let size = process.consoleSize {
            consoleSize.height = UInt32(clamping: size.height)
            consoleSize.width = UInt32(clamping: size.width)
        }
        user.uid = process.user.uid
        user.gid = process.user.gid
        user.additionalGids = process.user.additionalGids ?? []
        args = process.args ?? []
        env = process.env ?? []
        cwd = process.cwd
        noNewPrivileges = process.noNewPrivileges ?? false
        if let capabilities = process.capabilities {
            self.capabilities.bounding = capabilities.bounding ?? []
            self.capabilities.effective = capabilities.effective ?? []
            self.capabilities.inheritable = capabilities.inheritable ?? []
            self.capabilities.permitted = capabilities.permitted ?? []
            self.capabilities.ambient = capabilities.ambient ?? []
        }
        rlimits = (process.rlimits ?? []).map { limit in
            var wire = Grpc_POSIXRlimit()
            wire.type = limit.type
            wire.hard = limit.hard
            wire.soft = limit.soft
            return wire
        }
        if let adjustment = process.oomScoreAdj { oomscoreAdj = Int64(adjustment) }
    }
}
