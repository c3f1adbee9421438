import AgentAPI
import Container
import OCISpec
import SwiftProtobuf
import TTRPC

extension Service {
    /// Changes the limits of a container. Limits that the request doesn't name stay as they are.
    func updateContainer(_ request: Grpc_UpdateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let container = try guest.containers.find(request.containerID)
            let resources = Self.complete(try request.limits(), from: container.cgroup)
            if let rules = resources.devices, DeviceFilter(rules) != container.plan.deviceFilter {
                throw RPCError(
                    .invalidArgument, "resources.devices: the rules of a container can't be changed while it is there")
            }
            let settings = try CgroupLimits.settings(resources)
            try Self.checkMemoryInUse(resources, container.cgroup)
            try container.cgroup.apply(settings)
            try container.cgroup.applyToPod(request.podLimits.settings)
            return Google_Protobuf_Empty()
        }
    }

    /// Adds the present limits that the given ones are relative to.
    private static func complete(_ given: OCISpec.Linux.Resources, from cgroup: Cgroup) -> OCISpec.Linux.Resources {
        var resources = given
        if let swap = resources.memory?.swap, swap > 0, (resources.memory?.limit ?? 0) == 0 {
            // The specification's swap includes the memory, whose limit stays as it is.
            resources.memory?.limit = Int64(clamping: cgroup.number("memory.max") ?? 0)
        }
        if resources.cpu?.period ?? 0 != 0, resources.cpu?.quota ?? 0 == 0 { resources.cpu?.quota = cgroup.quota }
        return resources
    }

    /// - Throws: `failedPrecondition` when the request asks for this check and the new limit is below the memory in
    ///   use.
    private static func checkMemoryInUse(_ resources: OCISpec.Linux.Resources, _ cgroup: Cgroup) throws(RPCError) {
        guard resources.memory?.checkBeforeUpdate ?? false, let limit = resources.memory?.limit, limit > 0,
            let used = cgroup.number("memory.current"), used > UInt64(limit)
        else { return }
        throw RPCError(.failedPrecondition, "resources.memory.limit: \(limit) is below the \(used) bytes in use")
    }
}
