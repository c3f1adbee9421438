import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Sends a signal.
    /// - Throws: `RPCError`: `notFound` for a process that does not exist or has ended, `failedPrecondition` when the
    ///   guest is not ready. `deadlineExceeded` when it does not answer, `unavailable` when it has ended, or the
    ///   agent's own code.
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
