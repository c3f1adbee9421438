import Glibc
import ShimAPI
import TTRPC

extension ContainerdTasks {
    /// Answers with the pids of the shim and of the container.
    /// - Throws: nothing. Before the first container the answer lacks its pid.
    package func connect(_ request: Containerd_Task_V2_ConnectRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_ConnectResponse
    {
        var response = Containerd_Task_V2_ConnectResponse()
        response.shimPid = UInt32(getpid())
        if let sandbox = try? sandboxes.current() { response.taskPid = UInt32(await sandbox.pid(of: request.id)) }
        response.version = "2"
        return response
    }
}
