import Sandbox
import ShimAPI
import TTRPC

extension ContainerdSandboxes {
    /// Reports the state of the sandbox, and facts for people with `verbose`.
    /// - Throws: `RPCError` (`notFound`) for a sandbox that CreateSandbox has not made.
    package func sandboxStatus(
        _ request: Containerd_Runtime_Sandbox_V1_SandboxStatusRequest, _ context: CallContext
    ) async throws -> Containerd_Runtime_Sandbox_V1_SandboxStatusResponse {
        try await mappingErrorsToRPC {
            let report = try await sandbox(request.sandboxID).report
            var response = Containerd_Runtime_Sandbox_V1_SandboxStatusResponse()
            (response.sandboxID, response.pid) = (request.sandboxID, UInt32(report.pid))
            response.state = report.isReady ? "SANDBOX_READY" : "SANDBOX_NOTREADY"
            if let time = createdAt.value { response.createdAt = .init(time) }
            if let end = report.end { response.exitedAt = .init(end.at) }
            if request.verbose {
                response.info = report.facts
                // containerd reads this one as JSON, with the names of its own sandboxes (podsandbox/types).
                response.info["info"] =
                    #"{"pid":\#(report.pid),"processStatus":"\#(report.isReady ? "running" : "stopped")"}"#
            }
            return response
        }
    }
}
