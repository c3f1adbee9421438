import EventLoop
import LinuxKernel
import NIOCore
import Streams
import Synchronization

/// The agent's state: the sandbox, its containers and the threads that serve them.
final class Guest: Sendable {
    struct State: Sendable {
        /// Mount points of the sandbox's storages, in order.
        var mounts: [String] = []
        var hooks = GuestHooks(directory: "")
        var forwardsDNS = false
        /// Whether the pid namespace that containers share is the sandbox's own; otherwise it is the first container's.
        var hasSharedProcesses = false
        /// The first process of that namespace; nil until a container is in it.
        var podInit: PodInit?
        /// The guest's uptime, in seconds, at points of the agent's start.
        var startup: [(point: String, seconds: Double)] = []
    }

    let loop: any EventLoop
    let kernel: any GuestKernel
    let relay: StreamRelay
    let reaper: Reaper
    let oom: OOMWatch
    let containers = ContainerTable()
    let state = Mutex(State())
    /// Called once the sandbox has ended and the host has been notified.
    let powerOff: @Sendable () -> Void

    var hooks: GuestHooks { state.withLock { $0.hooks } }

    init(
        loop: any EventLoop, kernel: any GuestKernel, relay: StreamRelay, reaper: Reaper,
        powerOff: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        (self.loop, self.kernel, self.relay, self.reaper, self.powerOff) = (loop, kernel, relay, reaper, powerOff)
        oom = try OOMWatch()
    }
}
