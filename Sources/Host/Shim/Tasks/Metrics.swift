import AgentAPI
import LinuxKernel
import ShimAPI
import SwiftProtobuf

/// The guest's statistics in the format of the host's managers, by the version of the host's cgroups.
enum Metrics {
    static func message(_ stats: Grpc_StatsContainerResponse) throws -> Google_Protobuf_Any {
        Files.exists("/sys/fs/cgroup/cgroup.controllers") ? try wrapped(unified(stats)) : try wrapped(legacy(stats))
    }

    /// containerd's names have no domain before them.
    private static func wrapped(_ metrics: some Message) throws -> Google_Protobuf_Any {
        var any = Google_Protobuf_Any()
        any.typeURL = type(of: metrics).protoMessageName
        any.value = try metrics.serializedBytes()
        return any
    }

    static func unified(_ all: Grpc_StatsContainerResponse) -> Io_Containerd_Cgroups_V2_Metrics {
        let stats = all.cgroupStats
        var metrics = Io_Containerd_Cgroups_V2_Metrics()
        metrics.pids.current = stats.pidsStats.current
        metrics.pids.limit = stats.pidsStats.limit
        metrics.cpu.usageUsec = stats.cpuStats.cpuUsage.totalUsage / 1000
        metrics.cpu.userUsec = stats.cpuStats.cpuUsage.usageInUsermode / 1000
        metrics.cpu.systemUsec = stats.cpuStats.cpuUsage.usageInKernelmode / 1000
        metrics.cpu.nrPeriods = stats.cpuStats.throttlingData.periods
        metrics.cpu.nrThrottled = stats.cpuStats.throttlingData.throttledPeriods
        metrics.cpu.throttledUsec = stats.cpuStats.throttlingData.throttledTime / 1000
        let table = stats.memoryStats.stats
        metrics.memory.anon = table["anon"] ?? 0
        metrics.memory.file = table["file"] ?? 0
        metrics.memory.kernelStack = table["kernel_stack"] ?? 0
        metrics.memory.slab = table["slab"] ?? 0
        metrics.memory.sock = table["sock"] ?? 0
        metrics.memory.shmem = table["shmem"] ?? 0
        metrics.memory.inactiveFile = table["inactive_file"] ?? 0
        metrics.memory.activeFile = table["active_file"] ?? 0
        metrics.memory.pgfault = table["pgfault"] ?? 0
        metrics.memory.pgmajfault = table["pgmajfault"] ?? 0
        metrics.memory.usage = stats.memoryStats.usage.usage
        metrics.memory.usageLimit = stats.memoryStats.usage.limit
        metrics.memory.swapUsage = stats.memoryStats.swapUsage.usage
        metrics.memory.swapLimit = stats.memoryStats.swapUsage.limit
        metrics.memoryEvents.max = stats.memoryStats.usage.failcnt
        metrics.memoryEvents.oomKill = table["oom_kill"] ?? 0
        for (size, pages) in stats.hugetlbStats.sorted(by: { $0.key < $1.key }) {
            var entry = Io_Containerd_Cgroups_V2_HugeTlbStat()
            (entry.pagesize, entry.current) = (size, pages.usage)
            metrics.hugetlb.append(entry)
        }
        var disks: [UInt64: Io_Containerd_Cgroups_V2_IOEntry] = [:]
        func add(
            _ entries: [Grpc_BlkioStatsEntry],
            _ fields: [String: WritableKeyPath<Io_Containerd_Cgroups_V2_IOEntry, UInt64>]
        ) {
            for entry in entries {
                guard let field = fields[entry.op] else { continue }
                let number = entry.major << 32 | entry.minor & 0xffff_ffff
                var disk = disks[number] ?? Io_Containerd_Cgroups_V2_IOEntry()
                (disk.major, disk.minor) = (entry.major, entry.minor)
                disk[keyPath: field] = entry.value
                disks[number] = disk
            }
        }
        add(stats.blkioStats.ioServiceBytesRecursive, ["Read": \.rbytes, "Write": \.wbytes])
        add(stats.blkioStats.ioServicedRecursive, ["Read": \.rios, "Write": \.wios])
        metrics.io.usage = disks.sorted { $0.key < $1.key }.map(\.value)
        metrics.network = all.networkStats.map { link in
            var entry = Io_Containerd_Cgroups_V2_NetworkStat()
            (entry.name, entry.rxBytes, entry.rxPackets, entry.rxErrors, entry.rxDropped) = (
                link.name, link.rxBytes, link.rxPackets, link.rxErrors, link.rxDropped
            )
            (entry.txBytes, entry.txPackets, entry.txErrors, entry.txDropped) = (
                link.txBytes, link.txPackets, link.txErrors, link.txDropped
            )
            return entry
        }
        return metrics
    }

    static func legacy(_ all: Grpc_StatsContainerResponse) -> Io_Containerd_Cgroups_V1_Metrics {
        let stats = all.cgroupStats
        var metrics = Io_Containerd_Cgroups_V1_Metrics()
        metrics.pids.current = stats.pidsStats.current
        metrics.pids.limit = stats.pidsStats.limit
        metrics.cpu.usage.total = stats.cpuStats.cpuUsage.totalUsage
        metrics.cpu.usage.kernel = stats.cpuStats.cpuUsage.usageInKernelmode
        metrics.cpu.usage.user = stats.cpuStats.cpuUsage.usageInUsermode
        metrics.cpu.throttling.periods = stats.cpuStats.throttlingData.periods
        metrics.cpu.throttling.throttledPeriods = stats.cpuStats.throttlingData.throttledPeriods
        metrics.cpu.throttling.throttledTime = stats.cpuStats.throttlingData.throttledTime
        metrics.memory = legacy(stats.memoryStats)
        for (size, pages) in stats.hugetlbStats.sorted(by: { $0.key < $1.key }) {
            var entry = Io_Containerd_Cgroups_V1_HugetlbStat()
            (entry.pagesize, entry.usage, entry.failcnt) = (size, pages.usage, pages.failcnt)
            metrics.hugetlb.append(entry)
        }
        func entries(_ given: [Grpc_BlkioStatsEntry]) -> [Io_Containerd_Cgroups_V1_BlkIOEntry] {
            given.map { value in
                var entry = Io_Containerd_Cgroups_V1_BlkIOEntry()
                (entry.op, entry.major, entry.minor, entry.value) = (value.op, value.major, value.minor, value.value)
                return entry
            }
        }
        metrics.blkio.ioServiceBytesRecursive = entries(stats.blkioStats.ioServiceBytesRecursive)
        metrics.blkio.ioServicedRecursive = entries(stats.blkioStats.ioServicedRecursive)
        metrics.network = all.networkStats.map { link in
            var entry = Io_Containerd_Cgroups_V1_NetworkStat()
            (entry.name, entry.rxBytes, entry.rxPackets, entry.rxErrors, entry.rxDropped) = (
                link.name, link.rxBytes, link.rxPackets, link.rxErrors, link.rxDropped
            )
            (entry.txBytes, entry.txPackets, entry.txErrors, entry.txDropped) = (
                link.txBytes, link.txPackets, link.txErrors, link.txDropped
            )
            return entry
        }
        return metrics
    }

    /// The figures of version 1. The guest's cgroup has no members but the container's: its totals are its own figures.
    /// All messages are there, as some managers read them without a look (CRI-O).
    private static func legacy(_ stats: Grpc_MemoryStats) -> Io_Containerd_Cgroups_V1_MemoryStat {
        var memory = Io_Containerd_Cgroups_V1_MemoryStat()
        func figure(_ name: String) -> UInt64 { stats.stats[name] ?? 0 }
        (memory.cache, memory.totalCache) = (stats.cache, stats.cache)
        (memory.rss, memory.totalRss) = (figure("anon"), figure("anon"))
        (memory.mappedFile, memory.totalMappedFile) = (figure("file_mapped"), figure("file_mapped"))
        (memory.dirty, memory.totalDirty) = (figure("file_dirty"), figure("file_dirty"))
        (memory.writeback, memory.totalWriteback) = (figure("file_writeback"), figure("file_writeback"))
        (memory.pgFault, memory.totalPgFault) = (figure("pgfault"), figure("pgfault"))
        (memory.pgMajFault, memory.totalPgMajFault) = (figure("pgmajfault"), figure("pgmajfault"))
        (memory.inactiveAnon, memory.totalInactiveAnon) = (figure("inactive_anon"), figure("inactive_anon"))
        (memory.activeAnon, memory.totalActiveAnon) = (figure("active_anon"), figure("active_anon"))
        (memory.inactiveFile, memory.totalInactiveFile) = (figure("inactive_file"), figure("inactive_file"))
        (memory.activeFile, memory.totalActiveFile) = (figure("active_file"), figure("active_file"))
        (memory.unevictable, memory.totalUnevictable) = (figure("unevictable"), figure("unevictable"))
        memory.usage = entry(stats.usage)
        memory.swap = entry(stats.swapUsage)
        memory.kernel = entry(stats.kernelUsage)
        memory.kernelTcp = .with { $0.usage = figure("sock") }
        return memory
    }

    private static func entry(_ data: Grpc_MemoryData) -> Io_Containerd_Cgroups_V1_MemoryEntry {
        .with { ($0.usage, $0.limit, $0.max, $0.failcnt) = (data.usage, data.limit, data.maxUsage, data.failcnt) }
    }
}
