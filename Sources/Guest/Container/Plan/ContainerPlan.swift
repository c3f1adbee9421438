import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// All decisions about a container's creation, taken before anything is done: a pure value of the specification.
package struct ContainerPlan: Equatable, Sendable {
    package var rootfs = ""
    package var readOnlyRoot = false
    /// MS_SLAVE and its kin for all mounts; 0 leaves each mount as its own options say.
    package var rootPropagation: UInt = 0
    package var mounts: [MountPlan] = []
    package var masked: [String] = []
    package var readOnly: [String] = []
    package var hostname = ""
    package var domainname = ""
    /// Files below /proc/sys and their values, in order.
    package var sysctls: [Setting] = []
    /// Those of the network, which is the guest's: in another user namespace they could not be written.
    package var networkSysctls: [Setting] = []
    package var namespaces = NamespacePlan()
    package var devices: [DevicePlan] = []
    package var deviceFilter = DeviceFilter([])
    package var seccomp: SeccompPlan?
    /// Argument of personality(2); nil changes nothing.
    package var personality: UInt?
    /// Programs of the container that run before its main one (config.md, "StartContainer Hooks").
    package var startHooks: [Hook] = []
    /// The state that hooks read; status and pid are set when a hook runs.
    package var state = OCISpec.State()
    /// Path below /sys/fs/cgroup, without a leading slash.
    package var cgroup = ""
    /// Files of the cgroup and their values.
    package var limits: [Setting] = []
    package var process = ProcessPlan()

    /// A file and the text to write to it.
    package struct Setting: Equatable, Sendable {
        package var path: String
        package var value: String
        /// Whether a missing file is no error: the kernel does what is asked without it.
        package var optional: Bool
        package init(_ path: String, _ value: String, optional: Bool = false) {
            self.path = path
            self.value = value
            self.optional = optional
        }

        /// - Parameter name: may use dots or slashes for its levels (sysctl(8)).
        /// - Throws: `PlanError` for a name that is none.
        package init(sysctl name: String, _ value: String) throws(PlanError) {
            guard !name.contains(".."), !name.isEmpty else {
                throw PlanError("linux.sysctl", "\"\(name)\" is no name of a setting")
            }
            self.init("/proc/sys/" + String(name.map { $0 == "." && !name.contains("/") ? "/" : $0 }), value)
        }
    }

    /// PER_LINUX32 (linux/personality.h).
    private static let linux32: UInt = 8

    init() {}

    /// - Parameter spec: with the guest's paths.
    /// - Throws: `PlanError` with the field's path.
    package init(_ spec: Spec, container: String) throws(PlanError) {
        guard let process = spec.process else { throw PlanError("process", "missing") }
        guard let root = spec.root else { throw PlanError("root", "missing") }
        self.process = try ProcessPlan(process)
        // execCPUAffinity is for further processes only (config.md, "Linux Process").
        (self.process.initialProcessors, self.process.finalProcessors) = ([], [])
        rootfs = root.path
        readOnlyRoot = root.readonly ?? false
        let linux = spec.linux ?? OCISpec.Linux()
        if let name = linux.rootfsPropagation, !name.isEmpty {
            guard let bits = MountOptions.propagation(name) else {
                throw PlanError("linux.rootfsPropagation", "unknown value \"\(name)\"")
            }
            rootPropagation = bits
        }
        for (index, mount) in (spec.mounts ?? []).enumerated() {
            mounts.append(try MountPlan(mount, field: "mounts[\(index)]"))
        }
        masked = linux.maskedPaths ?? []
        readOnly = linux.readonlyPaths ?? []
        hostname = spec.hostname ?? ""
        domainname = spec.domainname ?? ""
        for (name, value) in (linux.sysctl ?? [:]).sorted(by: { $0.key < $1.key }) {
            let setting = try Setting(sysctl: name, value)
            if setting.path.hasPrefix("/proc/sys/net/") {
                networkSysctls.append(setting)
            } else {
                sysctls.append(setting)
            }
        }
        namespaces = try NamespacePlan(linux)
        if !hostname.isEmpty || !domainname.isEmpty, !namespaces.has(clx_new_uts) {
            throw PlanError("hostname, domainname", "need a uts namespace of the container's own")
        }
        devices = DevicePlan.all(linux.devices ?? [])
        deviceFilter = DeviceFilter(linux.resources?.devices ?? [])
        do { try linux.seccomp?.refuseListener(source: "config.json") } catch {
            throw PlanError(error.path, error.reason)
        }
        seccomp = linux.seccomp.map(SeccompPlan.init)
        personality = linux.personality.map { $0.domain == "LINUX32" ? Self.linux32 : 0 }
        startHooks = spec.hooks?.startContainer ?? []
        if let other = spec.hooks?.stages.first(where: { $0.name != "startContainer" }) {
            throw PlanError("hooks.\(other.name)", "is the host's to run; a guest runs startContainer alone")
        }
        state = OCISpec.State(spec, id: container, bundle: root.path)
        cgroup = CgroupLimits.path(linux.cgroupsPath, container: container)
        limits = try CgroupLimits.settings(linux.resources)
    }

    /// Whether it mounts, or may mount, file systems that the kernel may have as modules.
    package var mayNeedModules: Bool {
        let builtIn = ["", "proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "mqueue", "cgroup", "cgroup2", "bind"]
        let administrator = UInt64(1) << UInt64(KernelNames.capabilities.firstIndex(of: "SYS_ADMIN") ?? 0)
        return mounts.contains { !builtIn.contains($0.type) }
            || (process.capabilities?.bounding ?? 0) & administrator != 0
    }
}

// MARK: Transfer to the container's init

extension ContainerPlan: PlanCodable {
    /// The agent keeps its own part: limits and device rules of the cgroup, and the rules of the filter, which it
    /// compiles.
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&rootfs)
        coder.code(&readOnlyRoot)
        coder.code(&rootPropagation)
        coder.code(&mounts)
        coder.code(&masked)
        coder.code(&readOnly)
        coder.code(&hostname)
        coder.code(&domainname)
        coder.code(&sysctls)
        coder.code(&networkSysctls)
        coder.code(&namespaces)
        coder.code(&devices)
        coder.code(&personality)
        coder.code(&startHooks)
        coder.code(&state)
        coder.code(&cgroup)
        coder.code(&process)
    }

    package var encoded: [UInt8] { PlanCoder.write(self) }
}

extension ContainerPlan.Setting: PlanCodable {
    init() { self.init("", "") }

    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&path)
        coder.code(&value)
        coder.code(&optional)
    }
}
