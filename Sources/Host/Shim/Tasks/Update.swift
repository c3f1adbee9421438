import OCISpec
import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Sets new limits of a container.
    /// - Throws: `RPCError`: `invalidArgument` for resources that are not valid or don't fit, `notFound` without the
    ///   container. `unknown` when the machine can't grow. The agent's own code, or `deadlineExceeded` without its
    ///   answer.
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
