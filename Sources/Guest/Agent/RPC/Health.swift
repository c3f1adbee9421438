import AgentAPI
import TTRPC

/// grpc.Health.
final class Health: HealthService {
    private static let grpcVersion = "0.0.1"

    func check(_ request: Grpc_CheckRequest, _ context: CallContext) async throws -> Grpc_HealthCheckResponse {
        var response = Grpc_HealthCheckResponse()
        response.status = .serving
        return response
    }

    func version(_ request: Grpc_CheckRequest, _ context: CallContext) async throws -> Grpc_VersionCheckResponse {
        var response = Grpc_VersionCheckResponse()
        response.grpcVersion = Self.grpcVersion
        response.agentVersion = Version.current
        return response
    }
}
