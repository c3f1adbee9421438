import AgentAPI
import CLinux
import Container
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import NIOPosix
import SwiftProtobuf
import TTRPC

/// The agent: as pid 1 it prepares the guest, and powers it off in the end; then it serves grpc.AgentService and grpc.Health on vsock port 1024.
package enum AgentServer {
    package static let port: UInt32 = 1024

    package static func run() throws {
        signal(SIGPIPE, SIG_IGN)
        try checkNegativeErrno("hide", "the agent", clx_set_dumpable(0))
        let isInit = getpid() == 1
        let began = GuestMetrics.uptime()
        // As a unit of systemd it finds the guest prepared; what its containers leave behind comes to it all the same.
        if isInit { try GuestInit.run() } else { _ = clx_set_subreaper() }
        AgentFile.check()
        let zygote = try Zygote(limit: Deadline.stage.limit)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let finished = loop.makePromise(of: Void.self)
        let guest = try Guest(loop: loop, zygote: zygote) { finished.succeed() }
        let server = RPCServer(
            eventLoop: loop,
            services: [Service.serviceName: Service(guest: guest).answer, Health.serviceName: Health().answer])
        let listening = loop.makePromise(of: Void.self)
        Task(executorPreference: LoopExecutor(loop)) {
            do {
                _ = try await server.listen(vsockPort: port)
                listening.succeed()
            } catch { listening.fail(error) }
        }
        try listening.futureResult.wait()
        // A stream to the host's port tells it that the guest is up, refused or not.
        let isAlone: Bool
        do {
            _ = try Vsock.connect(port: port)
            isAlone = false
        } catch { isAlone = error.code == ENODEV }
        let listens = GuestMetrics.uptime()
        guest.state.withLock { $0.startup = [("agent_began", began), ("agent_listens", listens)] }
        if isInit { try Modules.loadLater() }
        if let port = KernelCommandLine.current.debugConsolePort {
            try DebugConsole.serve(port: port, relay: guest.relay, reaper: guest.reaper)
        }
        detachThread("rehearsal") {
            // While the host gets the first container ready.
            Cgroup.passDown()
            Rehearsal.run(zygote)
            // No host, no channel: this machine is to be saved, and others go on from here (MachineTemplate).
            guard isAlone else { return }
            Modules.wait()
            writeError("kata-agent: ready, and waits for its host")
        }
        try finished.futureResult.wait()
        if isInit { _ = clx_power_off() }
    }
}

/// grpc.AgentService; each group of methods has its file below RPC/.
final class Service: AgentService {
    let guest: Guest
    init(guest: Guest) { self.guest = guest }
}

/// grpc.Health.
final class Health: HealthService {
    func check(_ request: Grpc_CheckRequest, _ context: CallContext) async throws -> Grpc_HealthCheckResponse {
        var response = Grpc_HealthCheckResponse()
        response.status = .serving
        return response
    }

    func version(_ request: Grpc_CheckRequest, _ context: CallContext) async throws -> Grpc_VersionCheckResponse {
        var response = Grpc_VersionCheckResponse()
        response.grpcVersion = "0.0.1"
        response.agentVersion = Version.current
        return response
    }
}
