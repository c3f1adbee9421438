import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Lets a paused container run.
    /// - Throws: `RPCError`: `notFound` without the container, `failedPrecondition` for one that is not paused. The
    ///   agent's own code, or `deadlineExceeded` without its answer.
    package func resume(_ request: Containerd_Task_V2_ResumeRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            try await sandboxes.current().resume(container: request.id)
            var event = Containerd_Events_TaskResumed()
            event.containerID = request.id
            events.publish("/tasks/resumed", event)
            return Google_Protobuf_Empty()
        }
    }
}
