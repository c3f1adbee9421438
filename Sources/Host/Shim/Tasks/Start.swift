import ShimAPI
import TTRPC

extension ContainerdTasks {
    /// Starts a created process.
    /// - Throws: `RPCError`: `notFound` for a sandbox, container or process that does not exist, `failedPrecondition`
    ///   for one in another state. `unknown` for the agent's refusal, a hook or the network that fails, or a guest that
    ///   is lost. `deadlineExceeded` without the agent's answer.
    package func start(_ request: Containerd_Task_V2_StartRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StartResponse
    {
        try await mappingErrorsToRPC(for: .people) {
            let sandbox = try sandboxes.current()
            let (process, taskPid) = try await sandbox.start(container: request.id, exec: request.execID)
            let pid = UInt32(taskPid)
            log.debug("process started", metadata: ["container": "\(request.id)", "exec": "\(request.execID)"])
            publishStart(request, pid)
            // After the start event, so that the exit event can't overtake it.
            publishExit(of: request.id, process, pid: pid, in: sandbox)
            sandboxes.trimWhenIdle()
            var response = Containerd_Task_V2_StartResponse()
            response.pid = pid
            return response
        }
    }

    private func publishStart(_ request: Containerd_Task_V2_StartRequest, _ pid: UInt32) {
        if request.execID.isEmpty {
            var event = Containerd_Events_TaskStart()
            (event.containerID, event.pid) = (request.id, pid)
            events.publish("/tasks/start", event)
        } else {
            var event = Containerd_Events_TaskExecStarted()
            (event.containerID, event.execID, event.pid) = (request.id, request.execID, pid)
            events.publish("/tasks/exec-started", event)
        }
    }
}
