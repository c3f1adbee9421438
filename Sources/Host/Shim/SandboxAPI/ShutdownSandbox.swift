import LinuxKernel
import Sandbox
import ShimAPI
import TTRPC

extension ContainerdSandboxes {
    /// Ends the sandbox and the shim, also where CreateSandbox has failed. Later calls wait for the first.
    /// - Throws: `RPCError` (`notFound`) for another sandbox, and for that of a first container: its tasks end it.
    package func shutdownSandbox(
        _ request: Containerd_Runtime_Sandbox_V1_ShutdownSandboxRequest, _ context: CallContext
    ) async throws -> Containerd_Runtime_Sandbox_V1_ShutdownSandboxResponse {
        try await mappingErrorsToRPC {
            let isNone = request.sandboxID == sandboxes.identifier && (try? sandboxes.current()) == nil
            if !isNone { _ = try sandbox(request.sandboxID) }
            await tasks.end(context)
            return .init()
        }
    }
}
