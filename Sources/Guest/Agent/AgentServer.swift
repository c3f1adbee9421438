import AgentAPI
import CLinux
import Container
import EventLoop
import Glibc
import GuestNetwork
import LinuxKernel
import NIOCore
import NIOPosix
import Streams
import TTRPC

/// The agent. As pid 1 it prepares the guest first and powers it off at the end. It serves grpc.AgentService and
/// grpc.Health.
package enum AgentServer {
    /// Returns when the sandbox has ended.
    /// - Throws: `SystemError` of a step without which the agent can't serve.
    package static func run() throws {
        signal(SIGPIPE, SIG_IGN)
        try checkNegativeErrno("hide", "the agent", clx_set_dumpable(0))
        let isInit = getpid() == 1
        let began = GuestMetrics.uptime()
        // Under systemd the guest is prepared already. Orphans of containers must still become the agent's children.
        if isInit { try GuestInit.run() } else { _ = clx_set_subreaper() }
        AgentFile.check()
        // Before the first thread: a fork copies the calling thread only.
        let zygote = try Zygote(limit: Deadline.stage.limit)
        let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
        let finished = loop.makePromise(of: Void.self)
        let (relay, reaper) = (try StreamRelay(), try Reaper())
        let guest = try Guest(
            loop: loop, kernel: LinuxGuest(zygote: zygote, relay: relay, reaper: reaper), relay: relay, reaper: reaper
        ) { finished.succeed() }
        let server = RPCServer(
            eventLoop: loop,
            services: [
                Service.serviceName: loggingCalls(Service(guest: guest).answer),
                Health.serviceName: loggingCalls(Health().answer),
            ])
        try waiting(on: loop) { _ = try await server.listen(vsockPort: GuestPort.agent) }
        let hasHost = announce()
        guest.state.withLock {
            $0.startup = [("agent_began", began), ("agent_listens", GuestMetrics.uptime())]
        }
        try PortForwarder.serve(relay: guest.relay)
        if isInit { try Modules.loadLater() }
        if let port = KernelCommandLine.current.debugConsolePort {
            try DebugConsole.serve(port: port, relay: guest.relay, reaper: guest.reaper)
        }
        detachThread("warm-up") { warmUp(zygote, hasHost: hasHost) }
        try finished.futureResult.wait()
        try? waiting(on: loop) { await server.closeConnections(within: Deadline.goodbye.limit) }
        if isInit { _ = clx_power_off() }
    }

    /// Tells the host that the agent listens, by connecting to the agent's port on the host; the host may refuse.
    /// - Returns: false for a machine without a vsock device, which becomes a VM template.
    private static func announce() -> Bool {
        do { _ = try Vsock.connect(port: GuestPort.agent) } catch { return error.code != ENODEV }
        return true
    }

    /// Does what would slow down the first container, while the host prepares that container.
    private static func warmUp(_ zygote: Zygote, hasHost: Bool) {
        Cgroup.passDown()
        WarmUp.run(zygote)
        guard !hasHost else { return }
        // The host saves this machine once the console says so; clones go on from here.
        Modules.wait()
        writeError(ConsoleLine.templateReady)
    }
}
