import AgentAPI
import ArgumentParser
import Glibc
import OCISpec

struct Events: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints figures of a container, a line of JSON each time, until it ends.")
    @Option(help: "Time between two lines: 500ms, 5s, 1m.") var interval = "5s"
    @Flag(help: "One line, then end.") var stats = false
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    private struct Event<Body: Encodable>: Encodable {
        let type: String
        let id: String
        var data: Body?
    }

    func run() throws {
        let pause = try Self.microseconds(interval)
        let task = try runtime.global.running(id)
        var request = Grpc_StatsContainerRequest()
        request.containerID = id
        var kills: UInt64?
        while true {
            guard let answer: Grpc_StatsContainerResponse = try? task.ask("StatsContainer", request) else { return }
            let now = answer.cgroupStats.memoryStats.stats["oom_kill"] ?? 0
            if let kills, now > kills { try write(Event<Figures>(type: "oom", id: id)) }
            kills = now
            try write(Event(type: "stats", id: id, data: Figures(answer)))
            if stats { return }
            usleep(pause)
            guard let state = try? task.state(id), state.status != .stopped else { return }
        }
    }

    private func write(_ event: some Encodable) throws {
        show(event.json())
        fflush(nil)
    }

    /// A number with a unit, as Go's time package writes it.
    static func microseconds(_ text: String) throws(RuntimeError) -> UInt32 {
        let units: [(String, Double)] = [("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6)]
        for (unit, factor) in units where text.hasSuffix(unit) {
            if let number = Double(text.dropLast(unit.count)), number > 0, number * factor < 4e9 {
                return UInt32(number * factor)
            }
        }
        throw RuntimeError("--interval: \"\(text)\" is no time such as 500ms, 5s or 1m")
    }
}

/// A container's figures under runc's names.
private struct Figures: Encodable {
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

            /// Of memory and swap together, as cgroup v1 counted and runc goes on to.
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
        /// As in runc's: of an agent that knows it; cgroup v2 doesn't.
        let max: UInt64?
        let failcnt: UInt64
    }
    /// Go's names for its fields.
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
