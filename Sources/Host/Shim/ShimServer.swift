import AgentAPI
import CLinux
import Cleanup
import Configuration
import EventLoop
import Glibc
import LinuxKernel
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
        try begin(flags.id)
        let ledger = try Ledger.resume(in: SandboxPaths(sandbox: flags.id).machine)
        try serve(
            flags, publisher: environment("TTRPC_ADDRESS"),
            configuration: environment(SandboxHolder.configurationVariable), ledger, listener: 3,
            try makeEventLoop(descriptors: descriptors), nil)
    }

    /// What a shim is before it has a sandbox.
    static func begin(_ name: String) throws {
        signal(SIGPIPE, SIG_IGN)
        clx_set_thread_name("containerd-shim-kata-v2")
        try ShimRights.drop()
        // Mounts made for this sandbox live and die with this process, wherever it is killed.
        try checkNegativeErrno("make a mount namespace for", name, clx_unshare(Int32(clx_new_mount.rawValue)))
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SLAVE))
        // Shared again among its own children: what is mounted later reaches virtiofsd's namespace.
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))
    }

    /// Where a manager that wants to hear of its shim listens: a fifo in the shim's working directory (containerd's shim protocol, "Logging").
    static func openLog(in directory: String) throws(SystemError) -> LinuxKernel.FileDescriptor {
        let path = directory + "/log"
        return try FileDescriptor.open(Files.exists(path) ? path : "/dev/null", O_RDWR | O_NONBLOCK)
    }

    static func log(_ flags: ShimFlags) -> Logger {
        var log = Logger(label: "containerd-shim-kata-v2") { PrintableLog(StreamLogHandler.standardError(label: $0)) }
        log.logLevel = flags.debug ? .debug : .info
        log[metadataKey: "sandbox"] = "\(flags.id)"
        return log
    }

    /// Returns when the manager has said Shutdown.
    /// - Parameters:
    ///   - publisher: containerd's ttrpc socket.
    ///   - spare: a machine that is there already, for the sandbox to come.
    static func serve(
        _ flags: ShimFlags, publisher: String?, configuration: String?, _ ledger: Ledger, listener: Int32,
        _ loop: any EventLoop, _ spare: Spare?
    ) throws {
        let log = log(flags)
        let done = loop.makePromise(of: Void.self)
        let sandboxes = SandboxHolder(
            identifier: flags.id, configurationPath: configuration, spare: spare, ledger: ledger, loop: loop, log: log)
        let events = EventPublisher(address: publisher, namespace: flags.namespace, loop: loop, log: log)
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
                "containerd.task.v2.Task": tasks.answer, "containerd.task.v3.Task": tasks.answer,
                AgentServiceClient.serviceName: GuestQueries.service(sandboxes),
            ])
        Task(executorPreference: LoopExecutor(loop)) {
            do { _ = try await server.listen(socket: listener) } catch { done.fail(error) }
        }
        try done.futureResult.wait()
        // The reply to Shutdown is still on its way out.
        usleep(20_000)
    }

    static func environment(_ name: String) -> String? {
        guard let value = getenv(name).map({ String(cString: $0) }), !value.isEmpty else { return nil }
        return value
    }
}
