import LinuxKernel
import Sandbox
import ShimAPI
import TTRPC

extension ContainerdSandboxes {
    /// Boots the sandbox's machine, or takes the warm one.
    /// - Returns: the process whose namespaces containers of the sandbox name.
    /// - Throws: `RPCError`: `notFound` without CreateSandbox, `failedPrecondition` for a sandbox that was started
    ///   before, or is stopped meanwhile. `unknown` for a machine that does not come up. The sandbox has ended then.
    package func startSandbox(
        _ request: Containerd_Runtime_Sandbox_V1_StartSandboxRequest, _ context: CallContext
    ) async throws -> Containerd_Runtime_Sandbox_V1_StartSandboxResponse {
        try await mappingErrorsToRPC(for: .people) {
            let sandbox = try sandbox(request.sandboxID)
            try await sandboxes.boot(sandbox)
            log.debug("sandbox started")
            tasks.publishOutOfMemory(in: sandbox)
            sandboxes.trimWhenIdle()
            var response = Containerd_Runtime_Sandbox_V1_StartSandboxResponse()
            response.pid = UInt32(await sandbox.pid(of: sandbox.id))
            if let time = createdAt.value { response.createdAt = .init(time) }
            // containerd's plugins (NRI) read it.
            response.spec = SpecPart.spec.message(await sandbox.specification.json())
            return response
        }
    }
}
