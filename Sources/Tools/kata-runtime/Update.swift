import ArgumentParser
import Glibc
import LinuxKernel
import OCISpec
import ShimAPI

struct Update: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Changes the limits of a container.",
        discussion: "Sizes are bytes, or numbers with k, m or g; times are microseconds; -1 takes a limit away.")
    @Option(
        name: .shortAndLong, help: "A file of resources as JSON, - for standard input; the options below are ignored.")
    var resources: String?
    @Option(help: "Weight of block I/O, 10 to 1000.") var blkioWeight: UInt16?
    @Option(help: "Length of a period of processor time.") var cpuPeriod: UInt64?
    @Option(parsing: .unconditional, help: "Processor time in a period.") var cpuQuota: Int64?
    @Option(help: "Unused processor time that may be saved up.") var cpuBurst: UInt64?
    @Option(name: [.customLong("cpu-share"), .customLong("cpu-shares")], help: "Share of processor time.")
    var cpuShare: UInt64?
    @Option(help: "Refused unless 0: cgroup v2 has none.") var cpuRtPeriod: UInt64?
    @Option(parsing: .unconditional, help: "Refused unless 0: cgroup v2 has none.") var cpuRtRuntime: Int64?
    @Option(parsing: .unconditional, help: "1 makes the container run when nobody else does.") var cpuIdle: Int64?
    @Option(help: "Accepted; the host's processors are not the guest's.") var cpusetCpus: String?
    @Option(help: "Accepted; the host's memory nodes are not the guest's.") var cpusetMems: String?
    @Option(parsing: .unconditional, help: "Accepted; kernel memory counts as memory.") var kernelMemory: String?
    @Option(parsing: .unconditional, help: "Refused unless 0: cgroup v2 has none.") var kernelMemoryTcp: String?
    @Option(parsing: .unconditional, help: "Limit of memory.") var memory: String?
    @Option(parsing: .unconditional, help: "Memory that is left to the container when memory is short.")
    var memoryReservation: String?
    @Option(parsing: .unconditional, help: "Limit of memory and swap together.") var memorySwap: String?
    @Option(parsing: .unconditional, help: "Limit of processes.") var pidsLimit: Int64?
    @Option(help: "Refused: caches of the host don't reach into a guest.") var l3CacheSchema: String?
    @Option(help: "Refused: memory bandwidth of the host doesn't reach into a guest.") var memBwSchema: String?
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let limits = try wanted()
        try limits.validate(source: resources ?? "the command line")
        let task = try runtime.global.running(id)
        var request = Containerd_Task_V2_UpdateTaskRequest()
        request.id = id
        request.resources.typeURL = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
        request.resources.value = .init(limits.json())
        try task.perform("Update", request, timeout: Deadline.shimAnswer.limit)
    }

    private func wanted() throws -> OCISpec.Linux.Resources {
        if let resources {
            let bytes =
                resources == "-"
                ? try FileDescriptor(owning: 0).readAll("standard input", limit: 1 << 20) : try Files.read(resources)
            return try OCISpec.Linux.Resources.decode(json: bytes, source: resources)
        }
        for (option, value) in [("--l3-cache-schema", l3CacheSchema), ("--mem-bw-schema", memBwSchema)]
        where value != nil {
            throw RuntimeError("\(option): the host's processor does not reach into a guest")
        }
        var limits = OCISpec.Linux.Resources()
        limits.memory = .init()
        limits.memory?.limit = try memory.map { try Self.size($0, "--memory") }
        limits.memory?.reservation = try memoryReservation.map { try Self.size($0, "--memory-reservation") }
        limits.memory?.swap = try memorySwap.map { try Self.size($0, "--memory-swap") }
        limits.memory?.kernel = try kernelMemory.map { try Self.size($0, "--kernel-memory") }
        limits.memory?.kernelTCP = try kernelMemoryTcp.map { try Self.size($0, "--kernel-memory-tcp") }
        limits.cpu = .init()
        limits.cpu?.shares = cpuShare
        limits.cpu?.quota = cpuQuota
        limits.cpu?.period = cpuPeriod
        limits.cpu?.burst = cpuBurst
        limits.cpu?.realtimePeriod = cpuRtPeriod
        limits.cpu?.realtimeRuntime = cpuRtRuntime
        limits.cpu?.cpus = cpusetCpus
        limits.cpu?.mems = cpusetMems
        limits.cpu?.idle = cpuIdle
        if let pidsLimit {
            limits.pids = .init()
            limits.pids?.limit = pidsLimit
        }
        if let blkioWeight {
            limits.blockIO = .init()
            limits.blockIO?.weight = blkioWeight
        }
        return limits
    }

    /// `512m` and the like; powers of 1024.
    static func size(_ text: String, _ option: String) throws(RuntimeError) -> Int64 {
        let units: [Character: Int64] = ["k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40]
        var digits = Substring(text.lowercased())
        if digits.last == "b" { digits = digits.dropLast() }
        let unit = digits.last.flatMap { units[$0] }
        guard let number = Int64(unit == nil ? digits : digits.dropLast()), number >= -1 else {
            throw RuntimeError("\(option): \"\(text)\" is no size such as 1073741824, 512m or -1")
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
        guard !overflow else { throw RuntimeError("\(option): \"\(text)\" is more than any machine has") }
        return number < 0 ? -1 : bytes
    }
}
