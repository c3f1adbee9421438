import Glibc
import LinuxKernel
import Sandbox
import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Waits for the end of a process.
    /// - Throws: `RPCError` (`notFound`) for a sandbox, container or process that does not exist.
    package func wait(_ request: Containerd_Task_V2_WaitRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_WaitResponse
    {
        try await mappingErrorsToRPC {
            let sandbox = try sandboxes.current()
            try killWithAttachProcess(request, context, in: sandbox)
            let end = try await sandbox.wait(container: request.id, exec: request.execID)
            var response = Containerd_Task_V2_WaitResponse()
            response.exitStatus = UInt32(bitPattern: end.status)
            response.exitedAt = Google_Protobuf_Timestamp(end.at)
            return response
        }
    }

    /// Kills an exec's process when its attach process ends before it. A manager that ends a process by the pid that it
    /// was given means this one: conmon does so with a probe that takes too long.
    private func killWithAttachProcess(
        _ request: Containerd_Task_V2_WaitRequest, _ context: CallContext, in sandbox: Sandbox
    ) throws(SystemError) {
        // The caller's own pid is another in its pid namespace: the socket tells the one of this namespace.
        guard !request.execID.isEmpty, context.metadata[Self.attachedKey] != nil, let client = context.client,
            client > 0
        else { return }
        let (container, exec) = (request.id, request.execID)
        let kill: @Sendable () -> Void = { [self] in
            sandboxes.detached {
                // An attach process that has told the end has deleted the exec: it is not found any more.
                do {
                    try await sandbox.signal(SIGKILL, container: container, exec: exec, all: false)
                    _ = try await sandbox.wait(container: container, exec: exec)
                } catch {}
                _ = try? await sandbox.delete(container: container, exec: exec)
            }
        }
        // The attach process may have ended before its call was read.
        guard let process = ProcessIdentity(client) else { return kill() }
        do { try process.whenEnded(kill) } catch {
            kill()
            throw error
        }
    }
}
