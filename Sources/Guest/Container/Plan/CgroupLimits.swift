import Cgroups
import OCISpec

/// Translates resources of the specification to files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).
package enum CgroupLimits {
    /// The guest's cgroup for the host's path, below /sys/fs/cgroup; systemd's `slice:prefix:name` becomes
    /// `slice/prefix-name.scope`.
    package static func path(_ given: String?, container: String) -> String {
        guard let given, !given.isEmpty else { return "kata/" + container }
        let parts = given.split(separator: ":", omittingEmptySubsequences: false)
        let text = parts.count == 3 ? "\(parts[0])/\(parts[1])-\(parts[2]).scope" : given
        let names = text.split(separator: "/").filter { $0 != ".." && $0 != "." }
        return names.isEmpty ? "kata/" + container : names.joined(separator: "/")
    }

    /// Files and values in the order of their writes. `unified` comes last and so overrides the others.
    /// - Throws: `PlanError` with the field's path.
    package static func settings(_ resources: OCISpec.Linux.Resources?) throws(PlanError) -> [ContainerPlan.Setting] {
        guard let resources else { return [] }
        do { try resources.validate(source: "resources") } catch {
            throw PlanError("linux.resources." + error.path, error.reason)
        }
        var settings = resources.memory.map(memory) ?? []
        settings += resources.cpu.map(processors) ?? []
        if let limit = resources.pids?.limit, limit != 0 { settings.append(.init("pids.max", amount(limit))) }
        settings += resources.blockIO.map(blockIO) ?? []
        for limit in resources.hugepageLimits ?? [] {
            // A kernel without pages of this size gives none of them, as a limit of zero asks.
            settings.append(.init("hugetlb.\(limit.pageSize).max", "\(limit.limit)", optional: limit.limit == 0))
        }
        for (device, limit) in (resources.rdma ?? [:]).sorted(by: { $0.key < $1.key }) {
            let handles = limit.hcaHandles.map { " hca_handle=\($0)" } ?? ""
            let objects = limit.hcaObjects.map { " hca_object=\($0)" } ?? ""
            settings.append(.init("rdma.max", device + handles + objects))
        }
        for (file, value) in (resources.unified ?? [:]).sorted(by: { $0.key < $1.key }) {
            settings.append(.init(file, value))
        }
        return settings
    }

    private static func amount(_ value: Int64) -> String { value < 0 ? "max" : "\(value)" }

    private static func memory(_ memory: OCISpec.Linux.Resources.Memory) -> [ContainerPlan.Setting] {
        var settings: [ContainerPlan.Setting] = []
        if let limit = memory.limit, limit != 0 { settings.append(.init("memory.max", amount(limit))) }
        if let reservation = memory.reservation, reservation != 0 {
            settings.append(.init("memory.low", amount(reservation)))
        }
        if let limit = memory.limit, limit < 0, (memory.swap ?? 0) == 0 {
            // Memory without a limit, and no swap in the request: swap has no limit either, as under runc.
            settings.append(.init("memory.swap.max", "max", optional: true))
        } else if let swap = memory.swap, swap != 0 {
            // The specification's swap includes the memory; the kernel's doesn't.
            let limit = memory.limit ?? 0
            settings.append(.init("memory.swap.max", swap < 0 || limit < 0 ? "max" : "\(swap - limit)"))
        }
        return settings
    }

    private static func processors(_ cpu: OCISpec.Linux.Resources.CPU) -> [ContainerPlan.Setting] {
        var settings: [ContainerPlan.Setting] = []
        if let shares = cpu.shares, shares != 0 {
            settings.append(.init("cpu.weight", "\(CPUWeight.weight(shares: shares))"))
        }
        let period = cpu.period ?? 0
        let quota = cpu.quota ?? 0
        if quota != 0 || period != 0 {
            // Without a period the file keeps its own (cgroup-v2.rst, cpu.max).
            settings.append(
                .init("cpu.max", (quota > 0 ? "\(quota)" : "max") + (period == 0 ? "" : " \(period)")))
        }
        if let burst = cpu.burst { settings.append(.init("cpu.max.burst", "\(burst)", optional: burst == 0)) }
        if let idle = cpu.idle { settings.append(.init("cpu.idle", "\(idle)", optional: idle == 0)) }
        if let cpus = cpu.cpus, !cpus.isEmpty { settings.append(.init("cpuset.cpus", cpus)) }
        if let mems = cpu.mems, !mems.isEmpty { settings.append(.init("cpuset.mems", mems)) }
        return settings
    }

    private static func blockIO(_ limits: OCISpec.Linux.Resources.BlockIO) -> [ContainerPlan.Setting] {
        var settings: [ContainerPlan.Setting] = []
        // Maps 10…1000 to 1…10000, as runc does.
        func weight(_ given: UInt16) -> Int { 1 + (Int(given) - 10) * 9999 / 990 }
        if let given = limits.weight, given != 0 { settings.append(.init("io.weight", "default \(weight(given))")) }
        for device in limits.weightDevice ?? [] where (device.weight ?? 0) != 0 {
            settings.append(.init("io.weight", "\(device.major):\(device.minor) \(weight(device.weight ?? 0))"))
        }
        let throttles = [
            ("rbps", limits.throttleReadBpsDevice), ("wbps", limits.throttleWriteBpsDevice),
            ("riops", limits.throttleReadIOPSDevice), ("wiops", limits.throttleWriteIOPSDevice),
        ]
        for (kind, devices) in throttles {
            for device in devices ?? [] {
                let rate = device.rate == 0 ? "max" : "\(device.rate)"
                settings.append(.init("io.max", "\(device.major):\(device.minor) \(kind)=\(rate)"))
            }
        }
        return settings
    }
}
