import ShimAPI
import TTRPC

extension ContainerdTasks {
    /// Reports the statistics of a container, as the agent measures them.
    /// - Throws: `RPCError`: `notFound` before the first container, `failedPrecondition` when the guest is not ready.
    ///   The agent's own code, or `deadlineExceeded` without its answer.
    package func stats(_ request: Containerd_Task_V2_StatsRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StatsResponse
    {
        try await mappingErrorsToRPC {
            var response = Containerd_Task_V2_StatsResponse()
            response.stats = try Metrics.message(try await sandboxes.current().stats(container: request.id))
            return response
        }
    }
}
