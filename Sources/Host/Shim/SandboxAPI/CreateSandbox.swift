import LinuxKernel
import OCISpec
import Sandbox
import ShimAPI
import TTRPC

extension ContainerdSandboxes {
    /// Plans the sandbox: what can be refused is refused here. StartSandbox boots it.
    /// - Throws: `RPCError`: `invalidArgument` for another sandbox than the shim's, options of an unknown type, and
    ///   settings that can't be met. `alreadyExists` where the shim has a sandbox. `notFound` or `unknown` for a
    ///   configuration or file that can't be used.
    package func createSandbox(
        _ request: Containerd_Runtime_Sandbox_V1_CreateSandboxRequest, _ context: CallContext
    ) async throws -> Containerd_Runtime_Sandbox_V1_CreateSandboxResponse {
        try await mappingErrorsToRPC {
            guard request.sandboxID == sandboxes.identifier else {
                throw SandboxError(
                    .invalid,
                    "sandbox_id \(request.sandboxID.printable()): this shim is that of \(sandboxes.identifier)")
            }
            _ = try sandboxes.create(try SandboxOrder(request, host: .current))
            createdAt.complete(timeOfDay())
            log.debug("sandbox created")
            return .init()
        }
    }
}
