import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    package func kill(_ request: Containerd_Task_V2_KillRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            log.debug(
                "sending a signal",
                metadata: ["container": "\(request.id)", "exec": "\(request.execID)", "signal": "\(request.signal)"])
            try await sandboxes.current().signal(
                Int32(request.signal), container: request.id, exec: request.execID, all: request.all)
            return Google_Protobuf_Empty()
        }
    }
}
