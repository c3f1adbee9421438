import AgentAPI
import CLinux
import Container
import EventLoop
import GuestNetwork
import LinuxKernel
import SwiftProtobuf
import TTRPC

extension Service {
    /// Lets a container's init execute its program, and returns when the program runs.
    func startContainer(_ request: Grpc_StartContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let container = try guest.containers.find(request.containerID)
            let hookSeconds = container.plan.startHooks.limitSeconds
            try await blocking("start") { [guest] in
                // Managers write /etc/resolv.conf and /etc/hosts until now; the cache of the share may be a second old.
                for mount in container.plan.mounts where mount.isBind && Files.kind(of: mount.source) == .file {
                    // SAFETY: the call only reads the path.
                    _ = unsafe clx_refresh(mount.source)
                }
                try Self.forwardDNS(for: container.plan, guest)
                try container.initial.start(hookSeconds: hookSeconds)
            }
            log.debug("container runs", ["container": container.id])
            await guest.hooks.run("poststart", container.hookState(.running), reaper: guest.reaper)
            return Google_Protobuf_Empty()
        }
    }

    /// Starts the DNS forwarder once, if the container's resolv.conf points at Docker's resolver (127.0.0.11).
    private static func forwardDNS(for plan: ContainerPlan, _ guest: Guest) throws {
        guard let path = plan.mounts.last(where: { $0.destination == "/etc/resolv.conf" })?.source,
            let text = try? Files.readText(path), NameRelay.isNeeded(by: text)
        else { return }
        try guest.state.withLock { state in
            guard !state.forwardsDNS else { return }
            try DNSForwarder.start(relay: guest.relay)
            state.forwardsDNS = true
        }
    }
}
