import OCISpec
import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    package func update(_ request: Containerd_Task_V2_UpdateTaskRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let resources = try OCISpec.Linux.Resources.decode(
                json: Array(request.resources.value), source: "resources")
            try await sandboxes.current().update(container: request.id, resources: resources)
            return Google_Protobuf_Empty()
        }
    }
}
