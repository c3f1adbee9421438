import AgentAPI
import TTRPC

extension Sandbox {
    /// Statistics of all containers together. The links are the guest's.
    /// - Throws: `SandboxError` (`wrongState`) for a sandbox that is not ready. `RPCError` (`deadlineExceeded`) without
    ///   the agent's answer.
    package func stats() async throws -> Grpc_StatsContainerResponse {
        _ = try agent()
        var sum = Grpc_StatsContainerResponse()
        for container in containers.keys.sorted() {
            do { sum.add(try await stats(container: container)) } catch let error as RPCError
                where error.code != .deadlineExceeded
            {
                // Deleted meanwhile, or not created yet.
                continue
            }
        }
        if let limit = podLimits.memory { sum.cgroupStats.memoryStats.usage.limit = UInt64(max(0, limit)) }
        return sum
    }
}

// Figures are the guest's: a hostile one may send any numbers.

private func sum(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let (sum, isTooMuch) = left.addingReportingOverflow(right)
    return isTooMuch ? .max : sum
}

extension Grpc_StatsContainerResponse {
    /// Adds another container's figures.
    mutating func add(_ other: Grpc_StatsContainerResponse) {
        cgroupStats.cpuStats.add(other.cgroupStats.cpuStats)
        cgroupStats.memoryStats.add(other.cgroupStats.memoryStats)
        let (pids, others) = (cgroupStats.pidsStats, other.cgroupStats.pidsStats)
        cgroupStats.pidsStats.current = sum(pids.current, others.current)
        cgroupStats.pidsStats.limit = sum(pids.limit, others.limit)
        cgroupStats.blkioStats.ioServiceBytesRecursive.add(other.cgroupStats.blkioStats.ioServiceBytesRecursive)
        cgroupStats.blkioStats.ioServicedRecursive.add(other.cgroupStats.blkioStats.ioServicedRecursive)
        cgroupStats.hugetlbStats.merge(other.cgroupStats.hugetlbStats) { own, others in
            .with {
                ($0.usage, $0.maxUsage) = (sum(own.usage, others.usage), sum(own.maxUsage, others.maxUsage))
                $0.failcnt = sum(own.failcnt, others.failcnt)
            }
        }
        networkStats = other.networkStats
    }
}

extension Grpc_CpuStats {
    fileprivate mutating func add(_ other: Grpc_CpuStats) {
        cpuUsage.totalUsage = sum(cpuUsage.totalUsage, other.cpuUsage.totalUsage)
        cpuUsage.usageInUsermode = sum(cpuUsage.usageInUsermode, other.cpuUsage.usageInUsermode)
        cpuUsage.usageInKernelmode = sum(cpuUsage.usageInKernelmode, other.cpuUsage.usageInKernelmode)
        throttlingData.periods = sum(throttlingData.periods, other.throttlingData.periods)
        throttlingData.throttledPeriods = sum(
            throttlingData.throttledPeriods, other.throttlingData.throttledPeriods)
        throttlingData.throttledTime = sum(throttlingData.throttledTime, other.throttlingData.throttledTime)
    }
}

extension Grpc_MemoryStats {
    fileprivate mutating func add(_ other: Grpc_MemoryStats) {
        cache = sum(cache, other.cache)
        useHierarchy = true
        usage.add(other.usage)
        swapUsage.add(other.swapUsage)
        kernelUsage.add(other.kernelUsage)
        stats.merge(other.stats, uniquingKeysWith: sum)
    }
}

extension Grpc_MemoryData {
    fileprivate mutating func add(_ other: Grpc_MemoryData) {
        (usage, maxUsage) = (sum(usage, other.usage), sum(maxUsage, other.maxUsage))
        (failcnt, limit) = (sum(failcnt, other.failcnt), sum(limit, other.limit))
    }
}

/// The disk and the operation of a figure.
private struct DiskOperation: Hashable {
    let major: UInt64
    let minor: UInt64
    let name: String
    init(_ entry: Grpc_BlkioStatsEntry) { (major, minor, name) = (entry.major, entry.minor, entry.op) }
}

extension [Grpc_BlkioStatsEntry] {
    /// Adds figures to those of the same disk and operation.
    fileprivate mutating func add(_ others: [Grpc_BlkioStatsEntry]) {
        var places = Dictionary(enumerated().map { (DiskOperation($1), $0) }) { first, _ in first }
        for other in others {
            if let own = places[DiskOperation(other)] {
                self[own].value = sum(self[own].value, other.value)
            } else {
                places[DiskOperation(other)] = count
                append(other)
            }
        }
    }
}
