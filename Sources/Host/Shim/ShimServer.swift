import AgentAPI
import CLinux
import Configuration
import EventLoop
import Glibc
import Ledger
import Linux
import Logging
import NIOCore
import Sandbox
import ShimAPI
import TTRPC

/// Serves the task API on descriptor 3 until it is told to shut down.
package enum ShimServer {
    /// How many a sandbox of some containers needs.
    static let descriptors = 256
    static let threads = 8

    package static func run(_ flags: ShimFlags) throws {
        signal(SIGPIPE, SIG_IGN)
        clx_set_thread_name("containerd-shim-kata-v2")
        try ShimRights.drop()
        // Mounts made for this sandbox live and die with this process, wherever it is killed.
        try checkNegated("make a mount namespace for", flags.id, clx_unshare(Int32(clx_new_mount.rawValue)))
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SLAVE))
        // Shared again among its own children: what is mounted later reaches virtiofsd's namespace.
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))

        let ledger = try Ledger.resume(in: SandboxPaths(sandbox: flags.id).machine)

        var log = Logger(label: "containerd-shim-kata-v2")
        log.logLevel = flags.debug ? .debug : .info
        log[metadataKey: "sandbox"] = "\(flags.id)"
        let loop = try makeEventLoop(descriptors: descriptors)
        let done = loop.makePromise(of: Void.self)
        let sandboxes = SandboxHolder(
            identifier: flags.id, configurationPath: environment(SandboxHolder.configurationVariable),
            ledger: ledger, loop: loop, log: log)
        let events = EventPublisher(
            address: environment("TTRPC_ADDRESS"), namespace: flags.namespace, loop: loop, log: log)
        let forget = { @Sendable (container: String) in
            // Of the command line, whose containers these are.
            if flags.namespace == "oci" { Files.removeTree(flags.address + "/" + container) }
        }
        let tasks = ContainerdTasks(sandboxes: sandboxes, events: events, log: log, forget: forget) {
            // Before the answer: once it is out, a new shim of the same name may listen here.
            ledger.end()
            done.succeed()
        }
        let server = RPCServer(
            eventLoop: loop,
            services: [
                "containerd.task.v2.Task": tasks.methods, "containerd.task.v3.Task": tasks.methods,
                AgentServiceClient.serviceName: GuestQueries.handlers(sandboxes),
            ])
        Task(executorPreference: LoopExecutor(loop)) {
            do { _ = try await server.listen(socket: 3) } catch { done.fail(error) }
        }
        try done.futureResult.wait()
        // The reply to Shutdown is still on its way out.
        usleep(20_000)
    }

    private static func environment(_ name: String) -> String? {
        guard let value = getenv(name).map({ String(cString: $0) }), !value.isEmpty else { return nil }
        return value
    }
}
