import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Waits for the end of a process.
    /// - Throws: `RPCError` (`notFound`) for a sandbox, container or process that does not exist.
    package func wait(_ request: Containerd_Task_V2_WaitRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_WaitResponse
    {
        try await mappingErrorsToRPC {
            let end = try await sandboxes.current().wait(container: request.id, exec: request.execID)
            var response = Containerd_Task_V2_WaitResponse()
            response.exitStatus = UInt32(bitPattern: end.status)
            response.exitedAt = Google_Protobuf_Timestamp(end.at)
            return response
        }
    }
}
