import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    package func resizePty(_ request: Containerd_Task_V2_ResizePtyRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            try await sandboxes.current().resize(
                container: request.id, exec: request.execID, rows: request.height, columns: request.width)
            return Google_Protobuf_Empty()
        }
    }
}
