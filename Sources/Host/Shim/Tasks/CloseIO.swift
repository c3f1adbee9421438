import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Closes a process's stdin, if the request says so.
    /// - Throws: `RPCError` (`notFound`) for a sandbox, container or process that does not exist.
    package func closeIO(_ request: Containerd_Task_V2_CloseIORequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            if request.stdin { try await sandboxes.current().closeInput(container: request.id, exec: request.execID) }
            return Google_Protobuf_Empty()
        }
    }
}
