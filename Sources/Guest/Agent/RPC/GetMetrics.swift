import AgentAPI
import TTRPC

extension Service {
    func getMetrics(_ request: Grpc_GetMetricsRequest, _ context: CallContext) async throws -> Grpc_Metrics {
        var response = Grpc_Metrics()
        response.metrics = GuestMetrics.current(startup: guest.state.withLock { $0.startup })
        return response
    }
}
