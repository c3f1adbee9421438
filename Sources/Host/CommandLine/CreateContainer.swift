import Configuration
import Glibc
import LinuxKernel
import OCISpec
import Pod
import Sandbox
import Shim
import ShimAPI
import Stdio
import SwiftProtobuf
import TTRPC

/// `create` and the first half of `run`: boots the VM, or joins one, and creates the container in it.
package struct CreateContainer {
    package struct Options: Sendable {
        package let id: String
        /// The bundle's directory.
        package let bundle: String
        /// Socket that gets the master of the container's terminal.
        package let consoleSocket: String?
        /// Path of a terminal to use.
        package let console: String?
        /// File that gets the pid of the attach process.
        package let pidFile: String?
        /// Whether the calling process is the attach process.
        package let isForeground: Bool

        package init(
            id: String, bundle: String, consoleSocket: String?, console: String?, pidFile: String?, isForeground: Bool
        ) {
            (self.id, self.bundle, self.consoleSocket, self.console) = (id, bundle, consoleSocket, console)
            (self.pidFile, self.isForeground) = (pidFile, isForeground)
        }
    }

    package struct Created {
        package let state: ContainerState
        package let task: TaskClient
        package let follower: Follower
    }

    private let context: RuntimeContext
    private let options: Options
    private let bundle: Bundle
    private let configuration: Configuration
    private let hasTerminal: Bool

    /// Reads config.json and configuration.toml, and checks the options.
    /// - Throws: `IdentifierError` for the id, `SystemError` and `SpecError` for the bundle, `ConfigurationError` for
    ///   configuration.toml. `RuntimeError` for a terminal that the options don't serve.
    package init(_ options: Options, in context: RuntimeContext) throws {
        try ContainerState.validate(id: options.id)
        (self.options, self.context) = (options, context)
        bundle = try Bundle(options.bundle)
        guard let process = bundle.spec.process else { throw SpecError(bundle.specPath, "process", "missing") }
        for warning in process.warnings(at: "process.") { ErrorLog.shared.warn("\(bundle.specPath): \(warning)") }
        hasTerminal = process.terminal ?? false
        configuration = try context.loadConfiguration().applying(
            bundle.spec.annotations ?? [:], source: bundle.specPath)
        try checkTerminal()
    }

    private func checkTerminal() throws(RuntimeError) {
        if hasTerminal, options.consoleSocket == nil, options.console == nil, !options.isForeground {
            throw RuntimeError("process.terminal is true: give --console-socket, or run in the foreground")
        }
        if !hasTerminal, options.consoleSocket != nil {
            throw RuntimeError("--console-socket is given but process.terminal is false")
        }
    }

    /// Creates the container. On failure everything that was made for it is removed.
    /// - Throws: `RuntimeError` for an id in use, or a shim that does not start or has ended. `SpecError` for
    ///   namespaces that can't be joined. `RPCError` with the shim's refusal. `SystemError` of a file, process or
    ///   socket.
    package func run() throws -> Created {
        try withBlockingUndo { undo in
            let directory = try makeStateDirectory()
            // SAFETY: the call only reads the path. It fails for a directory with a state: that is the next step's.
            undo.add { unsafe rmdir(directory) }
            // The new container has no state yet: these are the others.
            let membership = try SandboxMembership(
                bundle.spec, id: options.id, containers: ContainerState.all(root: context.root).map(\.known),
                source: bundle.specPath)
            undo.add { try? RemoveContainer(options.id, in: context).run(sandbox: membership.sandbox) }
            // From here on, `list` and `delete` know what a killed `create` leaves.
            try state(membership).save(root: context.root)
            log("sandbox is \(membership.sandbox), \(membership.exists ? "joined" : "new")")
            let address = try shimAddress(membership, directory: directory)
            log("shim serves \(address)")
            let task = try TaskClient.connect(address)
            let streams = try CallerStreams.paths(
                terminal: hasTerminal, consoleSocket: options.consoleSocket, console: options.console,
                isForeground: options.isForeground)
            // First: the sandbox uses its network namespace, and hooks get its pid.
            let process = try startAttachProcess(address, terminal: streams.stdin)
            undo.add { process.end() }
            log("attach process is \(process.pid)")
            try requestCreation(of: streams, process, membership, task)
            // Before the attach process is on its own: a container that it follows has a state.
            let state = try save(process, membership)
            try process.follow(ContainerView(bundle))
            log("created")
            return Created(state: state, task: task, follower: follower(task))
        }
    }

    private func log(_ step: String) { ErrorLog.shared.debug("create \(options.id): \(step)") }

    /// Claims the container's id.
    private func makeStateDirectory() throws -> String {
        let directory = context.directory(of: options.id)
        try Files.makeDirectory(context.root)
        if try claim(directory) { return directory }
        if (try? context.state(options.id))?.isAbandoned == true {
            // Its `create` was killed half-way.
            try RemoveContainer(options.id, in: context).run()
            if try claim(directory) { return directory }
        }
        throw RuntimeError("container id \"\(options.id)\" is in use; delete it or choose another")
    }

    /// - Returns: whether the directory was not there.
    private func claim(_ directory: String) throws(SystemError) -> Bool {
        // SAFETY: the call only reads the path.
        if unsafe mkdir(directory, 0o700) == 0 { return true }
        guard errno == EEXIST else { throw SystemError("make directory", directory, errno: errno) }
        return false
    }

    private func shimAddress(_ membership: SandboxMembership, directory: String) throws -> String {
        guard !membership.exists else {
            return ShimProcess.address(root: context.root, sandbox: membership.sandbox)
        }
        return try ShimProcess.start(
            sandbox: membership.sandbox, directory: directory, configuration: configuration, in: context)
    }

    private func startAttachProcess(_ address: String, terminal: String) throws -> AttachProcess {
        let namespace = AttachProcess.Namespace(bundle.spec)
        if options.isForeground { return try .current(in: namespace) }
        return try .spawn(
            address: address, id: options.id, terminal: hasTerminal ? terminal : nil, namespace: namespace)
    }

    private func requestCreation(
        of streams: StreamPaths, _ process: AttachProcess, _ membership: SandboxMembership, _ task: TaskClient
    ) throws {
        var request = Containerd_Task_V2_CreateTaskRequest()
        (request.id, request.bundle, request.terminal) = (options.id, bundle.path, hasTerminal)
        (request.stdin, request.stdout, request.stderr) = (streams.stdin, streams.stdout, streams.stderr)
        request.options = SpecOption.message(bundle.json)
        var metadata = [
            ContainerdTasks.processKey: ["\(process.pid)"],
            ContainerdTasks.limitsKey: [ResourceLimits.inherited.text],
            ContainerdTasks.joinsKey: membership.joins.map { "\($0.key)=\($0.value)" }.sorted(),
        ]
        if streams.plainNewlines { metadata[ContainerdTasks.plainNewlinesKey] = [""] }
        do {
            let _: Containerd_Task_V2_CreateTaskResponse = try task.call(
                "Create", request, timeout: answerLimit, metadata: metadata)
        } catch let error as RPCError where error.code == .unavailable {
            throw RuntimeError(
                "the shim of container \"\(options.id)\" has ended while it created it: was it killed, or out of memory?"
            )
        }
    }

    /// Maximum time for the shim to boot the VM and create the container: the configured times of the guest, and the
    /// host's.
    private var answerLimit: Duration {
        configuration.longestDial + .seconds(configuration[Keys.createTimeout]) + Deadline.shimCreate.limit
    }

    /// The state of a container that this process creates.
    private func state(_ membership: SandboxMembership) -> ContainerState {
        ContainerState(
            ociVersion: bundle.spec.ociVersion, id: options.id, bundle: bundle.path, rootfs: bundle.rootfs,
            sandbox: membership.sandbox,
            address: ShimProcess.address(root: context.root, sandbox: membership.sandbox), pid: 0, start: nil,
            created: ErrorLog.now(), owner: getuid(), annotations: bundle.spec.annotations ?? [:], creator: .own)
    }

    private func save(_ process: AttachProcess, _ membership: SandboxMembership) throws -> ContainerState {
        var state = state(membership)
        (state.pid, state.start) = (process.pid, ProcessIdentity(process.pid)?.start)
        state.creator = nil
        try state.save(root: context.root)
        if let file = options.pidFile { try Files.replace(file, "\(state.pid)", mode: 0o644) }
        return state
    }

    private func follower(_ task: TaskClient) -> Follower {
        let usesCallers = options.isForeground && hasTerminal && options.consoleSocket == nil
        return Follower(task: task, id: options.id, terminal: usesCallers ? Terminal.callers() : -1)
    }
}
