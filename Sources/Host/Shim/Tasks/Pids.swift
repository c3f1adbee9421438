import ShimAPI
import TTRPC

extension ContainerdTasks {
    package func pids(_ request: Containerd_Task_V2_PidsRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_PidsResponse
    {
        try await mappingErrorsToRPC {
            var response = Containerd_Task_V2_PidsResponse()
            var process = Containerd_Task_V2_ProcessInfo()
            process.pid = UInt32(await (try sandboxes.current()).pid)
            response.processes = [process]
            return response
        }
    }
}
