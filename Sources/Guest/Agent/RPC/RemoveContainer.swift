import AgentAPI
import EventLoop
import SwiftProtobuf
import TTRPC

extension Service {
    /// Kills a container's processes and releases its resources. Of several callers one succeeds.
    func removeContainer(_ request: Grpc_RemoveContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let container = try guest.containers.beginRemoval(request.containerID)
            guest.oom.remove(container.id)
            do { try await blocking("remove") { container.release() } } catch {
                guest.containers.cancelRemoval(container)
                throw error
            }
            guest.containers.finishRemoval(container)
            log.debug("container removed", ["container": container.id])
            await guest.hooks.run("poststop", container.hookState(.stopped), reaper: guest.reaper)
            return Google_Protobuf_Empty()
        }
    }
}
