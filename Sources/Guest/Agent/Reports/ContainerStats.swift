import AgentAPI
import Container
import LinuxKernel

/// A container's statistics from the files of its cgroup (Documentation/admin-guide/cgroup-v2.rst), and of the
/// guest's links.
enum ContainerStats {
    static func read(_ cgroup: Cgroup) -> Grpc_StatsContainerResponse {
        var response = Grpc_StatsContainerResponse()
        response.cgroupStats.cpuStats = processors(cgroup)
        response.cgroupStats.memoryStats = memory(cgroup)
        response.cgroupStats.pidsStats.current = cgroup.number("pids.current") ?? 0
        response.cgroupStats.pidsStats.limit = cgroup.number("pids.max") ?? 0
        response.cgroupStats.blkioStats = blockIO(cgroup.text("io.stat"))
        response.cgroupStats.hugetlbStats = hugePages(cgroup)
        response.networkStats = links((try? Files.readText("/proc/net/dev")) ?? "")
        return response
    }

    private static func processors(_ cgroup: Cgroup) -> Grpc_CpuStats {
        let table = cgroup.table("cpu.stat")
        var stats = Grpc_CpuStats()
        // The message has nanoseconds.
        stats.cpuUsage.totalUsage = (table["usage_usec"] ?? 0) &* 1000
        stats.cpuUsage.usageInUsermode = (table["user_usec"] ?? 0) &* 1000
        stats.cpuUsage.usageInKernelmode = (table["system_usec"] ?? 0) &* 1000
        stats.throttlingData.periods = table["nr_periods"] ?? 0
        stats.throttlingData.throttledPeriods = table["nr_throttled"] ?? 0
        stats.throttlingData.throttledTime = (table["throttled_usec"] ?? 0) &* 1000
        return stats
    }

    private static func memory(_ cgroup: Cgroup) -> Grpc_MemoryStats {
        var stats = Grpc_MemoryStats()
        let events = cgroup.table("memory.events")
        stats.stats = cgroup.table("memory.stat")
        // Names of the message beside the kernel's own, which lack them.
        stats.stats["oom_kill"] = events["oom_kill"] ?? 0
        stats.cache = stats.stats["file"] ?? 0
        stats.useHierarchy = true
        stats.usage.usage = cgroup.number("memory.current") ?? 0
        stats.usage.maxUsage = cgroup.number("memory.peak") ?? 0
        stats.usage.limit = cgroup.number("memory.max") ?? .max
        stats.usage.failcnt = events["max"] ?? 0
        stats.swapUsage.usage = cgroup.number("memory.swap.current") ?? 0
        stats.swapUsage.limit = cgroup.number("memory.swap.max") ?? .max
        stats.kernelUsage.usage = stats.stats["kernel"] ?? 0
        return stats
    }

    /// - Parameter text: lines of `major:minor rbytes=… wbytes=… rios=… wios=… …`.
    static func blockIO(_ text: String) -> Grpc_BlkioStats {
        var stats = Grpc_BlkioStats()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            let numbers = (words.first ?? "").split(separator: ":").compactMap { UInt64($0) }
            guard numbers.count == 2 else { continue }
            for word in words.dropFirst() {
                let pair = word.split(separator: "=")
                guard pair.count == 2, let value = UInt64(pair[1]) else { continue }
                var entry = Grpc_BlkioStatsEntry()
                (entry.major, entry.minor, entry.value) = (numbers[0], numbers[1], value)
                entry.op = pair[0].hasPrefix("r") ? "Read" : pair[0].hasPrefix("w") ? "Write" : "Discard"
                if pair[0].hasSuffix("bytes") {
                    stats.ioServiceBytesRecursive.append(entry)
                } else if pair[0].hasSuffix("ios") {
                    stats.ioServicedRecursive.append(entry)
                }
            }
        }
        return stats
    }

    private static func hugePages(_ cgroup: Cgroup) -> [String: Grpc_HugetlbStats] {
        var stats: [String: Grpc_HugetlbStats] = [:]
        for file in Files.list(cgroup.path) where file.hasPrefix("hugetlb.") && file.hasSuffix(".current") {
            let size = String(file.dropFirst("hugetlb.".count).dropLast(".current".count))
            guard !size.hasSuffix(".rsvd") else { continue }
            var entry = Grpc_HugetlbStats()
            entry.usage = cgroup.number(file) ?? 0
            entry.failcnt = cgroup.table("hugetlb.\(size).events")["max"] ?? 0
            stats[size] = entry
        }
        return stats
    }

    /// - Parameter text: /proc/net/dev, two lines of titles and then `name: rx… tx…` (proc_pid_net(5)).
    static func links(_ text: String) -> [Grpc_NetworkStats] {
        text.split(separator: "\n").compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let numbers = line[line.index(after: colon)...].split(separator: " ").compactMap { UInt64($0) }
            let name = line[..<colon].filter { $0 != " " }
            guard numbers.count >= 16, name != "lo" else { return nil }
            var stats = Grpc_NetworkStats()
            stats.name = name
            (stats.rxBytes, stats.rxPackets, stats.rxErrors, stats.rxDropped) = (
                numbers[0], numbers[1], numbers[2], numbers[3]
            )
            (stats.txBytes, stats.txPackets, stats.txErrors, stats.txDropped) = (
                numbers[8], numbers[9], numbers[10], numbers[11]
            )
            return stats
        }
    }
}
