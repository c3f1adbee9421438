import AgentAPI
import Container
import LinuxKernel
import SwiftProtobuf
import TTRPC

extension Service {
    /// Creates a container up to the point where only its program is missing. A failure leaves nothing behind.
    func createContainer(_ request: Grpc_CreateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let id = request.containerID
            guard !id.isEmpty, !id.contains("/") else {
                throw RPCError(.invalidArgument, "\"\(id)\" is no container id")
            }
            let plan = try ContainerPlan(try await guestSpecification(of: request), container: id)
            let container = try await withUndo { [guest] undo in
                try guest.containers.reserve(id)
                undo.add { guest.containers.cancelReservation(id) }
                return try await GuestContainer.create(
                    GuestContainer.Request(
                        plan: plan, podLimits: request.podLimits.settings, storages: request.storages,
                        execID: request.execID,
                        ports: StreamPorts(
                            stdin: request.stdinPort, stdout: request.stdoutPort, stderr: request.stderrPort,
                            plainNewlines: request.plainNewlines)),
                    on: guest.kernel)
            }
            guest.containers.add(container)
            guest.oom.add(id, container.cgroup)
            await guest.hooks.run("prestart", container.hookState(.created), reaper: guest.reaper)
            return Google_Protobuf_Empty()
        }
    }
}
