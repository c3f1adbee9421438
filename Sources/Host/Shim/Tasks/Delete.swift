import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Deletes a process that has ended or was never started.
    /// - Throws: `RPCError`: `notFound` for a sandbox, container or process that does not exist, `failedPrecondition`
    ///   for one that runs.
    package func delete(_ request: Containerd_Task_V2_DeleteRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_DeleteResponse
    {
        try await mappingErrorsToRPC {
            let sandbox = try sandboxes.current()
            let deleted = try await sandbox.delete(container: request.id, exec: request.execID)
            let (pid, end) = (UInt32(deleted.pid), deleted.end)
            log.debug("process deleted", metadata: ["container": "\(request.id)", "exec": "\(request.execID)"])
            var event = Containerd_Events_TaskDelete()
            event.containerID = request.id
            event.id = request.execID
            event.pid = pid
            event.exitStatus = UInt32(bitPattern: end.status)
            event.exitedAt = Google_Protobuf_Timestamp(end.at)
            events.publish("/tasks/delete", event)
            var response = Containerd_Task_V2_DeleteResponse()
            response.pid = pid
            (response.exitStatus, response.exitedAt) = (event.exitStatus, event.exitedAt)
            return response
        }
    }
}
