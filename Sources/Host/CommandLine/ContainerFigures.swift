import AgentAPI
import OCISpec

/// A line of `events` (runc's format).
struct FiguresEvent<Body: Encodable>: Encodable {
    let type: String
    let id: String
    var data: Body?
}

/// A container's resource usage, under runc's names.
struct ContainerFigures: Encodable {
    struct CPU: Encodable {
        struct Usage: Encodable {
            let total: UInt64
            let kernel: UInt64
            let user: UInt64
        }
        struct Throttling: Encodable {
            let periods: UInt64
            let throttledPeriods: UInt64
            let throttledTime: UInt64
        }
        let usage: Usage
        let throttling: Throttling
    }
    struct Memory: Encodable {
        struct Entry: Encodable {
            let limit: UInt64
            let usage: UInt64
            let max: UInt64
            let failcnt: UInt64
            init(_ data: Grpc_MemoryData) {
                (limit, usage, max, failcnt) = (data.limit, data.usage, data.maxUsage, data.failcnt)
            }

            /// Memory and swap together, as cgroup v1 counts them and runc reports them.
            init(_ memory: Grpc_MemoryData, with swap: Grpc_MemoryData) {
                (usage, max, failcnt) = (memory.usage &+ swap.usage, swap.maxUsage, swap.failcnt)
                let (sum, isMore) = memory.limit.addingReportingOverflow(swap.limit)
                limit = isMore ? .max : sum
            }
        }
        let cache: UInt64
        let usage: Entry
        let swap: Entry
        let kernel: Entry
        let raw: [String: UInt64]
    }
    struct Pids: Encodable {
        let current: UInt64
        let limit: UInt64
    }
    struct BlockIO: Encodable {
        struct Entry: Encodable {
            let major: UInt64
            let minor: UInt64
            let op: String
            let value: UInt64
            init(_ entry: Grpc_BlkioStatsEntry) {
                (major, minor, op, value) = (entry.major, entry.minor, entry.op, entry.value)
            }
        }
        let ioServiceBytesRecursive: [Entry]
        let ioServicedRecursive: [Entry]
    }
    struct HugePages: Encodable {
        let usage: UInt64
        /// nil if the agent does not know it: cgroup v2 has no such figure.
        let max: UInt64?
        let failcnt: UInt64
    }
    /// Has the names of runc's Go fields.
    struct Link: Encodable {
        let name: String
        let received: [UInt64]
        let sent: [UInt64]

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: Name.self)
            try values.encode(name, forKey: "Name")
            for (index, counter) in ["Bytes", "Packets", "Errors", "Dropped"].enumerated() {
                try values.encode(received[index], forKey: Name("Rx" + counter))
                try values.encode(sent[index], forKey: Name("Tx" + counter))
            }
        }

        private struct Name: CodingKey, ExpressibleByStringLiteral {
            let stringValue: String
            var intValue: Int? { nil }
            init(_ name: String) { stringValue = name }
            init(stringLiteral name: String) { stringValue = name }
            init?(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
    }

    private enum CodingKeys: String, CodingKey {
        case cpu, memory, pids, blkio, hugetlb
        case links = "network_interfaces"
    }

    let cpu: CPU
    let memory: Memory
    let pids: Pids
    let blkio: BlockIO
    let hugetlb: [String: HugePages]
    let links: [Link]

    init(_ answer: Grpc_StatsContainerResponse) {
        let stats = answer.cgroupStats
        cpu = CPU(
            usage: .init(
                total: stats.cpuStats.cpuUsage.totalUsage, kernel: stats.cpuStats.cpuUsage.usageInKernelmode,
                user: stats.cpuStats.cpuUsage.usageInUsermode),
            throttling: .init(
                periods: stats.cpuStats.throttlingData.periods,
                throttledPeriods: stats.cpuStats.throttlingData.throttledPeriods,
                throttledTime: stats.cpuStats.throttlingData.throttledTime))
        memory = Memory(
            cache: stats.memoryStats.cache, usage: .init(stats.memoryStats.usage),
            swap: .init(stats.memoryStats.usage, with: stats.memoryStats.swapUsage),
            kernel: .init(stats.memoryStats.kernelUsage),
            raw: stats.memoryStats.stats)
        pids = Pids(current: stats.pidsStats.current, limit: stats.pidsStats.limit)
        blkio = BlockIO(
            ioServiceBytesRecursive: stats.blkioStats.ioServiceBytesRecursive.map(BlockIO.Entry.init),
            ioServicedRecursive: stats.blkioStats.ioServicedRecursive.map(BlockIO.Entry.init))
        hugetlb = stats.hugetlbStats.mapValues {
            HugePages(usage: $0.usage, max: $0.maxUsage > 0 ? $0.maxUsage : nil, failcnt: $0.failcnt)
        }
        links = answer.networkStats.map {
            Link(
                name: $0.name, received: [$0.rxBytes, $0.rxPackets, $0.rxErrors, $0.rxDropped],
                sent: [$0.txBytes, $0.txPackets, $0.txErrors, $0.txDropped])
        }
    }
}
