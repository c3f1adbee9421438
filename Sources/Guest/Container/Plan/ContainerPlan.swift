import CLinux
import Glibc
import Linux
import OCISpec

/// Everything that is done to create a container, decided before anything is done: a pure value of the specification.
package struct ContainerPlan: Codable, Equatable, Sendable {
    package var rootfs: String
    package var readOnlyRoot: Bool
    package var rootPropagation: UInt
    package var mounts: [MountPlan]
    package var masked: [String]
    package var readOnly: [String]
    package var hostname: String
    package var domainname: String
    /// Files below /proc/sys and their values, in order.
    package var sysctls: [Setting]
    /// CLONE_NEW* flags of the first clone.
    package var namespaces: UInt64
    package var newCgroupNamespace: Bool
    /// Below /sys/fs/cgroup, without leading slash.
    package var cgroup: String
    /// Files of the cgroup and their values.
    package var limits: [Setting]
    package var process: ProcessPlan

    package struct Setting: Codable, Equatable, Sendable {
        package var path: String
        package var value: String
        package init(_ path: String, _ value: String) {
            self.path = path
            self.value = value
        }
    }

    /// - Parameter spec: as the host sent it: paths are the guest's.
    package init(_ spec: Spec, container: String) throws(PlanError) {
        guard let process = spec.process else { throw PlanError("process", "missing") }
        guard let root = spec.root else { throw PlanError("root", "missing") }
        self.process = try ProcessPlan(process)
        rootfs = root.path
        readOnlyRoot = root.readonly ?? false
        let linux = spec.linux ?? OCISpec.Linux()
        if let name = linux.rootfsPropagation, !name.isEmpty {
            guard let bits = MountOptions.propagation(name) else {
                throw PlanError("linux.rootfsPropagation", "unknown value \"\(name)\"")
            }
            rootPropagation = bits
        } else {
            rootPropagation = UInt(MS_SLAVE) | UInt(MS_REC)
        }
        mounts = []
        for (index, mount) in (spec.mounts ?? []).enumerated() {
            mounts.append(try MountPlan(mount, field: "mounts[\(index)]"))
        }
        masked = linux.maskedPaths ?? []
        readOnly = linux.readonlyPaths ?? []
        hostname = spec.hostname ?? ""
        domainname = spec.domainname ?? ""
        sysctls = []
        for (name, value) in (linux.sysctl ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard !name.contains(".."), !name.isEmpty else {
                throw PlanError("linux.sysctl", "\"\(name)\" is no name of a setting")
            }
            // A name may use dots or slashes for its levels (sysctl(8)).
            sysctls.append(
                Setting("/proc/sys/" + String(name.map { $0 == "." && !name.contains("/") ? "/" : $0 }), value))
        }
        namespaces = UInt64(clx_new_mount.rawValue) | UInt64(clx_new_pid.rawValue)
        newCgroupNamespace = false
        for (index, namespace) in (linux.namespaces ?? []).enumerated() {
            if let path = namespace.path, !path.isEmpty {
                throw PlanError(
                    "linux.namespaces[\(index)].path", "joining \(path) inside the guest is not supported yet")
            }
            switch namespace.type {
            case "mount", "pid", "network": break
            case "ipc": namespaces |= UInt64(clx_new_ipc.rawValue)
            case "uts": namespaces |= UInt64(clx_new_uts.rawValue)
            case "cgroup": newCgroupNamespace = true
            default: throw PlanError("linux.namespaces[\(index)].type", "\"\(namespace.type)\" is not supported yet")
            }
        }
        if !hostname.isEmpty, namespaces & UInt64(clx_new_uts.rawValue) == 0 {
            throw PlanError("hostname", "needs a uts namespace of the container's own")
        }
        cgroup = CgroupLimits.path(linux.cgroupsPath, container: container)
        limits = try CgroupLimits.settings(linux.resources)
    }
}

/// Resources of the specification as files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).
package enum CgroupLimits {
    /// The host's path, made a relative one of the guest; systemd's `slice:prefix:name` becomes `slice/prefix-name.scope`.
    package static func path(_ given: String?, container: String) -> String {
        guard let given, !given.isEmpty else { return "kata/" + container }
        let parts = given.split(separator: ":", omittingEmptySubsequences: false)
        let text = parts.count == 3 ? "\(parts[0])/\(parts[1])-\(parts[2]).scope" : given
        let names = text.split(separator: "/").filter { $0 != ".." && $0 != "." }
        return names.isEmpty ? "kata/" + container : names.joined(separator: "/")
    }

    package static func settings(_ resources: OCISpec.Linux.Resources?) throws(PlanError) -> [ContainerPlan.Setting] {
        var settings: [ContainerPlan.Setting] = []
        func add(_ file: String, _ value: String) { settings.append(ContainerPlan.Setting(file, value)) }
        func amount(_ value: Int64) -> String { value < 0 ? "max" : "\(value)" }
        if let memory = resources?.memory {
            if let limit = memory.limit, limit != 0 { add("memory.max", amount(limit)) }
            if let reservation = memory.reservation, reservation != 0 { add("memory.low", amount(reservation)) }
            if let swap = memory.swap, swap != 0 {
                // The specification counts memory and swap together, the kernel swap alone.
                let limit = memory.limit ?? 0
                guard swap < 0 || swap >= limit else {
                    throw PlanError("linux.resources.memory.swap", "\(swap) is below the memory limit \(limit)")
                }
                add("memory.swap.max", swap < 0 || limit < 0 ? "max" : "\(swap - limit)")
            }
        }
        if let cpu = resources?.cpu {
            if let shares = cpu.shares, shares != 0 {
                // 2…262144 shares onto weights 1…10000, as runc and crun do it.
                let bounded = min(max(shares, 2), 262_144)
                add("cpu.weight", "\(1 + ((bounded - 2) * 9999) / 262_142)")
            }
            let period = cpu.period ?? 0
            if let quota = cpu.quota, quota != 0 {
                add("cpu.max", quota < 0 ? "max" : "\(quota) \(period == 0 ? 100_000 : period)")
            } else if period != 0 {
                add("cpu.max", "max \(period)")
            }
            if let cpus = cpu.cpus, !cpus.isEmpty { add("cpuset.cpus", cpus) }
            if let mems = cpu.mems, !mems.isEmpty { add("cpuset.mems", mems) }
        }
        if let limit = resources?.pids?.limit, limit != 0 { add("pids.max", amount(limit)) }
        return settings
    }
}
