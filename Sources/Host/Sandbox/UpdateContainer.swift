import AgentAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec
import Pod

extension Sandbox {
    /// Freezes all processes of a container.
    /// - Throws: `SandboxError`: `notFound` without such a container, `wrongState` for one that has ended or is paused
    ///   already. `RPCError` with the agent's refusal, or `deadlineExceeded` without its answer.
    package func pause(container: String) async throws {
        let record = try self.container(container)
        guard record.isAlive, !record.paused else {
            let state = record.paused ? "paused" : record.initial.state.rawValue
            throw SandboxError(.wrongState, "container \(container) is \(state), not running")
        }
        var request = Grpc_PauseContainerRequest()
        request.containerID = container
        _ = try await agent().pauseContainer(request, timeout: Deadline.change.limit)
        record.paused = true
    }

    /// Lets a paused container run.
    /// - Throws: `SandboxError`: `notFound` without such a container, `wrongState` for one that is not paused.
    ///   `RPCError` with the agent's refusal, or `deadlineExceeded` without its answer.
    package func resume(container: String) async throws {
        let record = try self.container(container)
        guard record.paused else { throw SandboxError(.wrongState, "container \(container) is not paused") }
        var request = Grpc_ResumeContainerRequest()
        request.containerID = container
        _ = try await agent().resumeContainer(request, timeout: Deadline.change.limit)
        record.paused = false
    }

    /// Statistics of a container, as the agent measures them.
    /// - Throws: `SandboxError` (`wrongState`) for a sandbox that is not ready. `RPCError` with the agent's refusal, or
    ///   `deadlineExceeded` without its answer.
    package func stats(container: String) async throws -> Grpc_StatsContainerResponse {
        var request = Grpc_StatsContainerRequest()
        request.containerID = container
        return try await agent().statsContainer(request, timeout: Deadline.change.limit)
    }

    /// Sets new limits of a running container.
    /// - Throws: `SandboxError`: `notFound` without such a container, `invalid` for limits that the pod's cgroup or the
    ///   host's processors don't allow. Also `host` when the machine can't grow. `SpecError` for a field that another
    ///   agent's messages lack. `RPCError` with the agent's refusal, or `deadlineExceeded` without its answer. The
    ///   record keeps the old limits then.
    package func update(container: String, resources: OCISpec.Linux.Resources) async throws {
        let record = try self.container(container)
        let (before, limits) = (record.demand, followedLimits)
        record.demand = before.updated(by: resources)
        followedLimits.follow(before, to: record.demand)
        do {
            // The machine grows before the higher limit applies.
            if record.demand != before { try await resizeMachine() }
            if containers.count == 1, plan.standalone == nil {
                try binding.limitMachine(nil, nil, resources.cpu?.shares)
            }
            try followProcessorSets()
            // In version 2 the manager's limits are copied.
            if binding.isBound { bindProcessorTime() }
            guard present(record.key) != nil else {
                throw SandboxError(.notFound, "container \(container) does not exist any more")
            }
            try await updateGuest(resources, of: container)
        } catch {
            (record.demand, followedLimits) = (before, limits)
            throw error
        }
    }

    /// Processors and memory nodes are the host's numbers: the guest does not get them.
    private func updateGuest(_ resources: OCISpec.Linux.Resources, of container: String) async throws {
        var request = Grpc_UpdateContainerRequest()
        request.containerID = container
        var resources = resources
        resources.cpu?.cpus = nil
        resources.cpu?.mems = nil
        if hasFeature(AgentFeature.specJSON) {
            request.resourcesJson = Data(resources.json())
        } else {
            request.resources = try Grpc_LinuxResources(checking: resources, source: "resources")
        }
        if let limits = guestPodLimits { request.podLimits = limits }
        _ = try await agent().updateContainer(request, timeout: Deadline.change.limit)
    }
}
