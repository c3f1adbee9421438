import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import SwiftProtobuf
import TTRPC

extension Service {
    /// Kills all containers, unmounts and writes everything back. After the answer the guest powers off.
    func destroySandbox(_ request: Grpc_DestroySandboxRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        for container in guest.containers.removeAll() { try? container.cgroup.killAll() }
        for path in guest.state.withLock({ $0.mounts }).reversed() { Mounts.detach(path) }
        _ = try? await blocking("sync") { sync() }
        context.whenAnswered { [guest] _ in guest.powerOff() }
        return Google_Protobuf_Empty()
    }
}
