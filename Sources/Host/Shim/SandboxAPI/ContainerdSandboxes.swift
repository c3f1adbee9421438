import Glibc
import LinuxKernel
import Logging
import Sandbox
import ShimAPI
import Synchronization
import TTRPC

/// containerd's Sandbox API (containerd.runtime.sandbox.v1): the other way to make the shim's sandbox, and to end it.
///
/// A sandbox that CreateSandbox has made is the same as that of a first container, and runs the tasks of
/// `ContainerdTasks`. It differs in its end: that is its manager's alone, by StopSandbox and ShutdownSandbox, whatever
/// containers it has. Each larger method is in a file of its name.
package final class ContainerdSandboxes: SandboxService, Sendable {
    let tasks: ContainerdTasks
    /// The time of CreateSandbox.
    let createdAt = OneShot<timespec>()

    var sandboxes: SandboxHolder { tasks.sandboxes }
    var log: Logger { tasks.log }

    package init(_ tasks: ContainerdTasks) { self.tasks = tasks }

    /// The sandbox that CreateSandbox has made.
    /// - Throws: `SandboxError` (`notFound`) for another one, also for that of a first container.
    func sandbox(_ id: String) throws(SandboxError) -> Sandbox {
        let sandbox = try sandboxes.current()
        guard sandbox.id == id, sandbox.plan.standalone != nil else {
            throw SandboxError(.notFound, "sandbox \(id.printable()) was not made by CreateSandbox")
        }
        return sandbox
    }

    /// Tells the platform of containers, for which containerd writes their specifications.
    /// - Throws: `RPCError` (`notFound`) for a sandbox that CreateSandbox has not made.
    package func platform(_ request: Containerd_Runtime_Sandbox_V1_PlatformRequest, _ context: CallContext) async throws
        -> Containerd_Runtime_Sandbox_V1_PlatformResponse
    {
        try await mappingErrorsToRPC {
            _ = try sandbox(request.sandboxID)
            return .with { ($0.platform.os, $0.platform.architecture) = ("linux", Self.architecture) }
        }
    }

    /// In the words of OCI's image specification.
    #if arch(arm64)
        private static let architecture = "arm64"
    #else
        private static let architecture = "amd64"
    #endif

    /// Answers as long as the shim has the sandbox.
    /// - Throws: `RPCError`: `notFound` as above, `unavailable` for a sandbox that has ended.
    package func pingSandbox(_ request: Containerd_Runtime_Sandbox_V1_PingRequest, _ context: CallContext) async throws
        -> Containerd_Runtime_Sandbox_V1_PingResponse
    {
        try await mappingErrorsToRPC {
            let sandbox = try sandbox(request.sandboxID)
            guard await sandbox.report.end == nil else {
                throw RPCError(.unavailable, "sandbox \(sandbox.id) has ended")
            }
            return .init()
        }
    }

    /// Waits for the end of the sandbox: its stop, or the loss of its machine.
    /// - Throws: `RPCError` (`notFound`) as above.
    package func waitSandbox(_ request: Containerd_Runtime_Sandbox_V1_WaitSandboxRequest, _ context: CallContext)
        async throws -> Containerd_Runtime_Sandbox_V1_WaitSandboxResponse
    {
        try await mappingErrorsToRPC {
            let end = try await sandbox(request.sandboxID).waitForEnd()
            return .with {
                $0.exitStatus = UInt32(bitPattern: end.status)
                $0.exitedAt = .init(end.at)
            }
        }
    }

    /// Ends all containers and the machine, and removes what they have on the host. The shim goes on.
    /// - Throws: `RPCError` (`notFound`) as above.
    package func stopSandbox(_ request: Containerd_Runtime_Sandbox_V1_StopSandboxRequest, _ context: CallContext)
        async throws -> Containerd_Runtime_Sandbox_V1_StopSandboxResponse
    {
        try await mappingErrorsToRPC {
            let sandbox = try sandbox(request.sandboxID)
            if request.timeoutSecs > 0 { await sandbox.askContainersToEnd(within: .seconds(request.timeoutSecs)) }
            await sandbox.stop()
            log.debug("sandbox stopped")
            return .init()
        }
    }

    /// Reports the figures of all containers together.
    /// - Throws: `RPCError`: `notFound` as above, `failedPrecondition` when the guest is not ready. `deadlineExceeded`
    ///   without its answer.
    package func sandboxMetrics(
        _ request: Containerd_Runtime_Sandbox_V1_SandboxMetricsRequest, _ context: CallContext
    ) async throws -> Containerd_Runtime_Sandbox_V1_SandboxMetricsResponse {
        try await mappingErrorsToRPC {
            let stats = try await sandbox(request.sandboxID).stats()
            var response = Containerd_Runtime_Sandbox_V1_SandboxMetricsResponse()
            (response.metrics.id, response.metrics.timestamp) = (request.sandboxID, .init(timeOfDay()))
            response.metrics.data = try Metrics.message(stats)
            return response
        }
    }
}
