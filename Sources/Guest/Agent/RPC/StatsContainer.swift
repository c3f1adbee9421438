import AgentAPI
import TTRPC

extension Service {
    func statsContainer(_ request: Grpc_StatsContainerRequest, _ context: CallContext) async throws
        -> Grpc_StatsContainerResponse
    {
        try await mappingErrorsToRPC {
            ContainerStats.read(try guest.containers.find(request.containerID).cgroup)
        }
    }
}
