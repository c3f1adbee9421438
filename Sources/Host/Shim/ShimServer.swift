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

/// Serves the task API and the Sandbox API on descriptor 3 until Shutdown.
package enum ShimServer {
    /// Descriptors and threads that a sandbox of some containers needs.
    static let descriptors = 256
    static let threads = 8
    /// Variable of the environment: the resource limits of the manager, from which the server's own differ.
    static let limitsVariable = "KATA_CALLER_LIMITS"

    /// Serves with the sandbox's ledger, which `start` began.
    /// - Throws: `SystemError` when the process can't drop capabilities, or make its mount namespace or threads.
    ///   `LedgerError` or `SystemError` without a usable ledger. NIO's error of the listening socket.
    package static func run(_ flags: ShimFlags) throws {
        try begin(flags.id)
        let ledger = try Ledger.resume(in: SandboxPaths(sandbox: flags.id).machine)
        try serve(
            flags, publisher: environment("TTRPC_ADDRESS"),
            configuration: environment(SandboxHolder.configurationVariable), ledger, listener: 3,
            try makeEventLoop(descriptors: descriptors), nil, limits: environment(limitsVariable))
    }

    /// Prepares the process: capabilities, and a mount namespace whose mounts end with it.
    static func begin(_ name: String) throws {
        signal(SIGPIPE, SIG_IGN)
        // SAFETY: the call copies the name.
        unsafe clx_set_thread_name("containerd-shim-kata-v2")
        try ShimRights.drop()
        try checkNegativeErrno("make a mount namespace for", name, clx_unshare(Int32(clx_new_mount.rawValue)))
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SLAVE))
        // Shared with the namespaces of child processes: later mounts reach virtiofsd.
        try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))
    }

    /// Opens the fifo through which the manager reads the shim's log (containerd's shim protocol, "Logging").
    /// - Parameter directory: the shim's working directory.
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

    /// Serves until Shutdown.
    /// - Parameters:
    ///   - publisher: containerd's ttrpc socket; nil when no events are wanted.
    ///   - warm: a warm VM for the sandbox to come.
    ///   - limits: the manager's resource limits (`ResourceLimits.text`).
    static func serve(
        _ flags: ShimFlags, publisher: String?, configuration: String?, _ ledger: Ledger, listener: Int32,
        _ loop: any EventLoop, _ warm: WarmSandbox?, limits: String?
    ) throws {
        let log = log(flags)
        let promise = loop.makePromise(of: Void.self)
        let done = OneShotPromise(promise)
        let sandboxes = SandboxHolder(
            identifier: flags.id, configurationPath: configuration, warm: warm, ledger: ledger, loop: loop, log: log)
        let events = EventPublisher(address: publisher, namespace: flags.namespace, loop: loop, log: log)
        let forget = { @Sendable (container: String) in
            // The state directories of kata-runtime, whose containers these are.
            if flags.namespace == "oci" { Files.removeTree(flags.address + "/" + container) }
        }
        let tasks = ContainerdTasks(
            sandboxes: sandboxes, events: events, log: log,
            limits: limits.flatMap(ResourceLimits.init) ?? .inherited, forget: forget
        ) { context in
            // Before the answer: after it, a new shim may listen on the same socket.
            ledger.end()
            if let context {
                context.whenAnswered { _ in done.complete(.success(())) }
            } else {
                done.complete(.success(()))
            }
        }
        let unused = UnusedShim(after: Deadline.unused.limit, on: loop, isUnused: sandboxes.isUnused) {
            log.warning("the shim ends: it has had no container for a while")
            await tasks.end()
        }
        let server = RPCServer(
            eventLoop: loop,
            services: [
                "containerd.task.v2.Task": tasks.answer, "containerd.task.v3.Task": tasks.answer,
                ContainerdSandboxes.serviceName: ContainerdSandboxes(tasks).answer,
                AgentServiceClient.serviceName: GuestQueries.service(sandboxes),
            ])
        Task(executorPreference: LoopExecutor(loop)) {
            do { _ = try await server.listen(socket: listener) } catch { done.complete(.failure(error)) }
        }
        try withExtendedLifetime(unused) { try promise.futureResult.wait() }
    }

    /// A variable of the environment; nil if it is empty.
    package static func environment(_ name: String) -> String? {
        // SAFETY: no thread changes the environment.
        guard let value = unsafe getenv(name).map({ unsafe String(cString: $0) }), !value.isEmpty else { return nil }
        return value
    }
}
