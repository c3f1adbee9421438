import AgentAPI
import TTRPC

extension Service {
    /// Suspends until a process has ended and its output has been sent. A further process is forgotten then.
    func waitProcess(_ request: Grpc_WaitProcessRequest, _ context: CallContext) async throws
        -> Grpc_WaitProcessResponse
    {
        try await mappingErrorsToRPC {
            let container = try guest.containers.find(request.containerID)
            let process = try container.process(request.execID)
            var response = Grpc_WaitProcessResponse()
            response.status = await process.wait(on: guest.loop)
            log.debug(
                "process ended",
                ["container": container.id, "exec": request.execID, "status": "\(response.status)"])
            response.outOfMemory = process === container.initial && guest.oom.hasKilled(in: container.id)
            if process !== container.initial {
                process.streams.release()
                container.forget(request.execID)
            }
            return response
        }
    }
}
