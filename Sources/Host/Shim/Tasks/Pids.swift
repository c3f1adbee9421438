import ShimAPI
import TTRPC

extension ContainerdTasks {
    /// Lists a container's processes on the host.
    /// - Throws: `RPCError` (`notFound`) for a sandbox or container that does not exist.
    package func pids(_ request: Containerd_Task_V2_PidsRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_PidsResponse
    {
        try await mappingErrorsToRPC {
            var response = Containerd_Task_V2_PidsResponse()
            response.processes = try await sandboxes.current().pids(of: request.id).map { pid in
                .with { $0.pid = UInt32(pid) }
            }
            return response
        }
    }
}
