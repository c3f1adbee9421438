import AgentAPI
import SwiftProtobuf
import TTRPC

extension Service {
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
        try await mappingErrorsToRPC {
            try guest.containers.find(container).cgroup.freeze(frozen)
            return Google_Protobuf_Empty()
        }
    }
}
