import AgentAPI
import Container
import SwiftProtobuf
import TTRPC

extension Service {
    /// Starts a further process of a container, and returns when its program runs.
    func execProcess(_ request: Grpc_ExecProcessRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await mappingErrorsToRPC {
            let container = try guest.containers.find(request.containerID)
            let plan = ExecPlan(try ProcessPlan(try request.specification()), in: container.plan)
            let ports = StreamPorts(
                stdin: request.stdinPort, stdout: request.stdoutPort, stderr: request.stderrPort,
                plainNewlines: request.plainNewlines)
            try await container.exec(request.execID, plan, ports: ports)
            return Google_Protobuf_Empty()
        }
    }
}
