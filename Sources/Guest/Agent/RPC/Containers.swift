import AgentAPI
import Container
import EventLoop
import Glibc
import Linux
import OCISpec
import SwiftProtobuf
import TTRPC

/// The life of a container.
extension Service {
    func createContainer(_ request: Grpc_CreateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let id = request.containerID
            guard !id.isEmpty, !id.contains("/") else {
                throw RPCError(.invalidArgument, "\"\(id)\" is no container id")
            }
            let plan = try ContainerPlan(OCISpec.Spec(request.oci), container: id)
            let free = guest.state.withLock { state in
                state.containers[id] == nil && state.pending.insert(id).inserted
            }
            guard free else { throw RPCError(.alreadyExists, "container \(id) exists already") }
            defer { _ = guest.state.withLock { $0.pending.remove(id) } }
            let cgroup = Cgroup(plan.cgroup)
            let ports = GuestProcess.Ports(
                stdin: request.stdinPort, stdout: request.stdoutPort, stderr: request.stderrPort)
            do {
                let process = try await blocking("create") { [guest] in
                    try cgroup.create(plan.limits)
                    return try GuestProcess(.container(plan), ports: ports, relay: guest.relay, reaper: guest.reaper)
                }
                var processes = [id: process]
                if !request.execID.isEmpty { processes[request.execID] = process }
                let record = Guest.ContainerRecord(plan: plan, cgroup: cgroup, processes: processes, initial: process)
                guest.state.withLock { $0.containers[id] = record }
                guest.oom.add(id, cgroup)
            } catch {
                try? await blocking("clean") { cgroup.remove() }
                throw error
            }
            return Google_Protobuf_Empty()
        }
    }

    func startContainer(_ request: Grpc_StartContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let process = try guest.container(request.containerID).initial
            try await blocking("start") { try process.start() }
            return Google_Protobuf_Empty()
        }
    }

    func removeContainer(_ request: Grpc_RemoveContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let record = try guest.container(request.containerID)
            guest.oom.remove(request.containerID)
            try? record.cgroup.killAll()
            try await blocking("remove") { record.cgroup.remove() }
            for process in record.processes.values { process.release() }
            guest.state.withLock { $0.containers[request.containerID] = nil }
            return Google_Protobuf_Empty()
        }
    }

    func pauseContainer(_ request: Grpc_PauseContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await freeze(request.containerID, true)
    }

    func resumeContainer(_ request: Grpc_ResumeContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await freeze(request.containerID, false)
    }

    private func freeze(_ container: String, _ frozen: Bool) async throws -> Google_Protobuf_Empty {
        try await guest.answering {
            try guest.container(container).cgroup.freeze(frozen)
            return Google_Protobuf_Empty()
        }
    }

    func updateContainer(_ request: Grpc_UpdateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let settings = try CgroupLimits.settings(OCISpec.Linux.Resources(request.resources))
            try guest.container(request.containerID).cgroup.apply(settings)
            return Google_Protobuf_Empty()
        }
    }

    func getOOMEvent(_ request: Grpc_GetOOMEventRequest, _ context: CallContext) async throws -> Grpc_OOMEvent {
        var event = Grpc_OOMEvent()
        event.containerID = await guest.oom.next()
        return event
    }

    func statsContainer(_ request: Grpc_StatsContainerRequest, _ context: CallContext) async throws
        -> Grpc_StatsContainerResponse
    {
        try await guest.answering {
            let cgroup = try guest.container(request.containerID).cgroup
            var stats = Grpc_CgroupStats()
            let cpu = cgroup.table("cpu.stat")
            // Nanoseconds, as the message has them.
            stats.cpuStats.cpuUsage.totalUsage = (cpu["usage_usec"] ?? 0) * 1000
            stats.cpuStats.cpuUsage.usageInUsermode = (cpu["user_usec"] ?? 0) * 1000
            stats.cpuStats.cpuUsage.usageInKernelmode = (cpu["system_usec"] ?? 0) * 1000
            stats.cpuStats.throttlingData.periods = cpu["nr_periods"] ?? 0
            stats.cpuStats.throttlingData.throttledPeriods = cpu["nr_throttled"] ?? 0
            stats.cpuStats.throttlingData.throttledTime = (cpu["throttled_usec"] ?? 0) * 1000
            let memory = cgroup.table("memory.stat")
            stats.memoryStats.cache = memory["file"] ?? 0
            stats.memoryStats.usage.usage = cgroup.number("memory.current") ?? 0
            stats.memoryStats.usage.maxUsage = cgroup.number("memory.peak") ?? 0
            stats.memoryStats.usage.limit = cgroup.number("memory.max") ?? .max
            stats.memoryStats.swapUsage.usage = cgroup.number("memory.swap.current") ?? 0
            stats.memoryStats.swapUsage.limit = cgroup.number("memory.swap.max") ?? .max
            stats.memoryStats.stats = memory
            stats.pidsStats.current = cgroup.number("pids.current") ?? 0
            stats.pidsStats.limit = cgroup.number("pids.max") ?? 0
            var response = Grpc_StatsContainerResponse()
            response.cgroupStats = stats
            return response
        }
    }
}
