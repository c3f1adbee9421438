import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Freezes a container.
    /// - Throws: `RPCError`: `notFound` without the container, `failedPrecondition` for one that has ended or is paused
    ///   already. The agent's own code, or `deadlineExceeded` without its answer.
    package func pause(_ request: Containerd_Task_V2_PauseRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            try await sandboxes.current().pause(container: request.id)
            var event = Containerd_Events_TaskPaused()
            event.containerID = request.id
            events.publish("/tasks/paused", event)
            return Google_Protobuf_Empty()
        }
    }
}
