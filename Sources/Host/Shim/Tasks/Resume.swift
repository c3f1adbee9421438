import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
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
