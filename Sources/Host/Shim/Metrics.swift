import AgentAPI
import Linux
import ShimAPI
import SwiftProtobuf

/// The guest's figures in the form that the host's managers know: by the host's kind of control groups.
enum Metrics {
    static func message(_ stats: Grpc_CgroupStats) throws -> Google_Protobuf_Any {
        Files.exists("/sys/fs/cgroup/cgroup.controllers") ? try wrapped(unified(stats)) : try wrapped(legacy(stats))
    }

    /// containerd's names have no domain before them.
    private static func wrapped(_ metrics: some Message) throws -> Google_Protobuf_Any {
        var any = Google_Protobuf_Any()
        any.typeURL = type(of: metrics).protoMessageName
        any.value = try metrics.serializedBytes()
        return any
    }

    static func unified(_ stats: Grpc_CgroupStats) -> Io_Containerd_Cgroups_V2_Metrics {
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
        return metrics
    }

    static func legacy(_ stats: Grpc_CgroupStats) -> Io_Containerd_Cgroups_V1_Metrics {
        var metrics = Io_Containerd_Cgroups_V1_Metrics()
        metrics.pids.current = stats.pidsStats.current
        metrics.pids.limit = stats.pidsStats.limit
        metrics.cpu.usage.total = stats.cpuStats.cpuUsage.totalUsage
        metrics.cpu.usage.kernel = stats.cpuStats.cpuUsage.usageInKernelmode
        metrics.cpu.usage.user = stats.cpuStats.cpuUsage.usageInUsermode
        metrics.cpu.throttling.periods = stats.cpuStats.throttlingData.periods
        metrics.cpu.throttling.throttledPeriods = stats.cpuStats.throttlingData.throttledPeriods
        metrics.cpu.throttling.throttledTime = stats.cpuStats.throttlingData.throttledTime
        metrics.memory.cache = stats.memoryStats.cache
        metrics.memory.rss = stats.memoryStats.stats["anon"] ?? 0
        metrics.memory.totalInactiveFile = stats.memoryStats.stats["inactive_file"] ?? 0
        metrics.memory.usage.usage = stats.memoryStats.usage.usage
        metrics.memory.usage.limit = stats.memoryStats.usage.limit
        metrics.memory.usage.max = stats.memoryStats.usage.maxUsage
        metrics.memory.swap.usage = stats.memoryStats.swapUsage.usage
        metrics.memory.swap.limit = stats.memoryStats.swapUsage.limit
        return metrics
    }
}
