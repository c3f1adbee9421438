import ArgumentParser
import CommandLine
import OCISpec

struct Update: ChangingCommand {
    static let configuration = CommandConfiguration(
        abstract: "Changes the limits of a container.",
        discussion: "Sizes are bytes, or numbers with k, m, g or t; times are microseconds; -1 removes a limit.")
    @Option(
        name: .shortAndLong, help: "File with resources as JSON, - for standard input; replaces the options below.")
    var resources: String?
    @Option(help: "Weight of block I/O, 10 to 1000.") var blkioWeight: UInt16?
    @Option(help: "CPU period.") var cpuPeriod: UInt64?
    @Option(parsing: .unconditional, help: "CPU time in a period.") var cpuQuota: Int64?
    @Option(help: "Unused CPU time that may be saved for later periods.") var cpuBurst: UInt64?
    @Option(name: [.customLong("cpu-share"), .customLong("cpu-shares")], help: "CPU weight, as cgroup v1 counts it.")
    var cpuShare: UInt64?
    @Option(help: "Refused unless 0: cgroup v2 has no such limit.") var cpuRtPeriod: UInt64?
    @Option(parsing: .unconditional, help: "Refused unless 0: cgroup v2 has no such limit.") var cpuRtRuntime: Int64?
    @Option(parsing: .unconditional, help: "1: run the container only when no other does.") var cpuIdle: Int64?
    @Option(help: "Accepted without effect: the guest has other processors.") var cpusetCpus: String?
    @Option(help: "Accepted without effect: the guest has other memory nodes.") var cpusetMems: String?
    @Option(parsing: .unconditional, help: "Accepted without effect: kernel memory counts as memory.") var kernelMemory:
        String?
    @Option(parsing: .unconditional, help: "Refused unless 0: cgroup v2 has no such limit.") var kernelMemoryTcp:
        String?
    @Option(parsing: .unconditional, help: "Memory limit.") var memory: String?
    @Option(parsing: .unconditional, help: "Memory that the container keeps when memory is short.")
    var memoryReservation: String?
    @Option(parsing: .unconditional, help: "Limit of memory and swap together.") var memorySwap: String?
    @Option(parsing: .unconditional, help: "Maximum number of processes.") var pidsLimit: Int64?
    @Option(help: "Refused: a guest does not see the host's caches.") var l3CacheSchema: String?
    @Option(help: "Refused: a guest does not see the host's memory bandwidth.") var memBwSchema: String?
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let limits = try limits()
        try limits.validate(source: resources ?? "the command line")
        try runtime.context.connect(toRunning: id).update(id, limits)
    }
}

extension Update {
    /// The limits of the file, or of the options.
    private func limits() throws -> OCISpec.Linux.Resources {
        if let resources {
            return try OCISpec.Linux.Resources.decode(json: InputFile.read(resources), source: resources)
        }
        for (option, value) in [("--l3-cache-schema", l3CacheSchema), ("--mem-bw-schema", memBwSchema)]
        where value != nil {
            throw RuntimeError("\(option): the host's processor does not reach into a guest")
        }
        var limits = OCISpec.Linux.Resources()
        limits.memory = .init()
        limits.memory?.limit = try memory.map { try ByteSize.parse($0, "--memory") }
        limits.memory?.reservation = try memoryReservation.map { try ByteSize.parse($0, "--memory-reservation") }
        limits.memory?.swap = try memorySwap.map { try ByteSize.parse($0, "--memory-swap") }
        limits.memory?.kernel = try kernelMemory.map { try ByteSize.parse($0, "--kernel-memory") }
        limits.memory?.kernelTCP = try kernelMemoryTcp.map { try ByteSize.parse($0, "--kernel-memory-tcp") }
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
}
