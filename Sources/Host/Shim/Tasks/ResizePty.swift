import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Sets the size of a process's terminal.
    /// - Throws: `RPCError`: `notFound` for a sandbox, container or process that does not exist, `failedPrecondition`
    ///   when the guest is not ready. The agent's own code, or `deadlineExceeded` without its answer.
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
