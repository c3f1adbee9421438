import AgentAPI
import OCISpec

/// What of a bundle's specification goes to the guest, with host paths replaced by guest paths.
///
/// Dropped on the way: host cgroup limits that the guest doesn't know (devices), the network namespace (the VM is one) and
/// namespace paths of the host. Everything else is the workload's and is kept.
package struct GuestSpec: Sendable {
    package let spec: Spec
    /// Host paths to share, each with its name in the exported directory.
    package let shares: [Share]

    package struct Share: Sendable, Equatable {
        package let source: String
        package let exported: String
        package let readOnly: Bool
    }

    package init(_ original: Spec, container: String, paths: SandboxPaths) {
        var spec = original
        var shares: [Share] = []
        spec.root?.path = GuestPaths.rootfs(of: container)
        spec.hooks = nil
        spec.linux?.namespaces = original.linux?.namespaces?
            .filter { !["network", "time", "user"].contains($0.type) }
            .map {
                var namespace = $0
                namespace.path = nil
                return namespace
            }
        spec.mounts = original.mounts?.enumerated().compactMap { index, mount in
            guard mount.isBind, let source = mount.source else { return mount }
            // These belong to the guest's own kernel; the host's would be a lie there.
            for reserved in ["/proc", "/sys", "/dev"]
            where mount.destination == reserved
                || mount.destination.hasPrefix(reserved + "/") && mount.destination != "/dev/shm"
            {
                return nil
            }
            var rewritten = mount
            let exported = paths.sharedMount(of: container, index: index, destination: mount.destination)
            shares.append(Share(source: source, exported: exported, readOnly: mount.options?.contains("ro") ?? false))
            rewritten.type = "bind"
            rewritten.source = GuestPaths.path(of: exported, below: paths.share)
            return rewritten
        }
        self.spec = spec
        self.shares = shares
    }
}

extension Mount {
    var isBind: Bool { type == "bind" || options?.contains { $0 == "bind" || $0 == "rbind" } ?? false }
}

extension Grpc_Spec {
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
        if let resources = linux.resources { self.linux.resources = Grpc_LinuxResources(resources) }
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
