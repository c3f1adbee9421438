import GuestSpec
import LinuxKernel
import OCISpec
import Pod
import Sandbox
import ShimAPI
import Stdio
import TTRPC

extension ContainerdTasks {
    /// Creates a container, in a new machine if it is the sandbox's first.
    /// - Throws: `RPCError`: `alreadyExists` for an id in use, `unimplemented` for a container from a checkpoint.
    ///   `failedPrecondition` when the attach process has ended. `unknown` for everything else that can't be met or
    ///   fails: an id, a specification, a configuration, a machine, a hook, or the agent's refusal. `deadlineExceeded`
    ///   without the agent's answer.
    package func create(_ request: Containerd_Task_V2_CreateTaskRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_CreateTaskResponse
    {
        try await mappingErrorsToRPC(for: .people) {
            let (container, pid): (ContainerKey, UInt32)
            do { (container, pid) = try await createContainer(request, caller: Caller(context)) } catch {
                context.whenAnswered { [self] isWritten in if !isWritten { endIfUnused() } }
                throw error
            }
            context.whenAnswered { [self] isWritten in if !isWritten { discard(container) } }
            log.debug("container created", metadata: ["container": "\(request.id)"])
            publishCreation(request, pid: pid)
            var response = Containerd_Task_V2_CreateTaskResponse()
            response.pid = pid
            return response
        }
    }

    /// Additions of the command line to a Create.
    private struct Caller {
        /// Pid of the attach process; nil under containerd.
        let process: Int32?
        /// The container whose namespace is joined, by type of namespace.
        let joins: [String: String]
        /// Resource limits of kata-runtime's caller.
        let limits: ResourceLimits?
        /// Pid of the process in whose mount namespace the paths are.
        let manager: Int32?
        let plainNewlines: Bool

        init(_ context: CallContext) {
            let metadata = context.metadata
            process = metadata[ContainerdTasks.processKey]?.first.flatMap(Int32.init)
            let pairs = (metadata[ContainerdTasks.joinsKey] ?? []).map {
                $0.split(separator: "=", maxSplits: 1).map(String.init)
            }
            manager = process ?? context.client
            limits = metadata[ContainerdTasks.limitsKey]?.first.flatMap(ResourceLimits.init)
            plainNewlines = metadata[ContainerdTasks.plainNewlinesKey] != nil
            joins = Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }) { first, _ in first }
        }
    }

    /// Creates the container, in a new VM if it is the sandbox's first.
    /// - Returns: its identity, and the pid that the manager sees.
    private func createContainer(_ request: Containerd_Task_V2_CreateTaskRequest, caller: Caller) async throws
        -> (ContainerKey, UInt32)
    {
        try Identifier.check(request.id, "container id")
        try Checkpoint.refuse(request)
        guard request.bundle.hasPrefix("/") else {
            throw SandboxError(.invalid, "bundle \"\(request.bundle)\" is not an absolute path")
        }
        log.debug("creating a container", metadata: ["container": "\(request.id)", "bundle": "\(request.bundle)"])
        var spec = try SpecOption.spec(of: request)
        // The request has the streams, so it also decides whether they are a terminal. Exec does the same.
        spec.process?.terminal = request.terminal
        let (sandbox, isNew) = try sandboxes.sandbox(for: request, spec: spec, process: caller.process)
        let streams = StreamPaths(
            stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal,
            plainNewlines: caller.plainNewlines)
        let key = try await sandbox.reserve(request.id, bundle: request.bundle, streams: streams)
        var hasMachine = !isNew
        do {
            if let process = caller.process { try watch(attachProcess: process, of: key, in: sandbox) }
            let rootfs = try RootFilesystem.prepare(
                request.rootfs, bundle: request.bundle, spec: spec, seenBy: caller.manager, ledger: sandbox.ledger,
                plugsDisks: sandbox.plan.plugsRootDisks)
            let container = ContainerRequest(
                key, bundle: request.bundle, rootfs: rootfs.source, spec: spec, attachProcess: caller.process,
                manager: caller.manager, limits: caller.limits ?? limits,
                joins: caller.process == nil
                    ? SandboxMembership.joins(of: spec, containers: await sandbox.known) : caller.joins,
                made: rootfs.made)
            if isNew {
                try await sandbox.prepare(container)
                try await sandboxes.boot(sandbox)
                hasMachine = true
                log.debug("VM is up")
                publishOutOfMemory(in: sandbox)
                return (key, UInt32(try await sandbox.create(key)))
            }
            return (key, UInt32(try await sandbox.create(container)))
        } catch {
            if !hasMachine { sandboxes.forget() }
            await sandbox.release(key)
            throw error
        }
    }

    /// Ends a container with its attach process, also while it is created.
    ///
    /// An attach process that ends before the container's start means that `create` was killed half-way: no manager
    /// has the container. Its sandbox ends too, unless it has others.
    private func watch(attachProcess process: Int32, of container: ContainerKey, in sandbox: Sandbox) throws {
        guard let identity = ProcessIdentity(process) else {
            throw SandboxError(.wrongState, "the attach process \(process) of container \(container.id) has ended")
        }
        try identity.whenEnded { [self] in
            sandboxes.detached { [self] in
                guard await sandbox.hostProcessEnded(container), await sandbox.hasOnly(container) else { return }
                log.warning(
                    "the container's creator ended before its start: the sandbox ends",
                    metadata: ["container": "\(container.id)"])
                await end()
            }
        }
    }

    /// Removes a container whose manager has gone before it had the answer. A manager that was killed, and did not find
    /// the container when it came back, never asks for it.
    private func discard(_ container: ContainerKey) {
        sandboxes.detached { [self] in
            guard let sandbox = try? sandboxes.current(), await sandbox.discard(container) else { return }
            log.warning(
                "the manager went before it learned of the container: it is removed",
                metadata: ["container": "\(container.id)"])
            endIfUnused()
        }
    }

    private func endIfUnused() {
        sandboxes.detached { [self] in if await sandboxes.isUnused() { await end() } }
    }

    private func publishCreation(_ request: Containerd_Task_V2_CreateTaskRequest, pid: UInt32) {
        var event = Containerd_Events_TaskCreate()
        (event.containerID, event.bundle, event.rootfs) = (request.id, request.bundle, request.rootfs)
        (event.io.stdin, event.io.stdout, event.io.stderr) = (request.stdin, request.stdout, request.stderr)
        (event.io.terminal, event.pid) = (request.terminal, pid)
        events.publish("/tasks/create", event)
    }

    /// Publishes /tasks/oom until the guest has gone.
    func publishOutOfMemory(in sandbox: Sandbox) {
        sandboxes.detached {
            while let container = try? await sandbox.nextOutOfMemory() { self.publishOutOfMemory(of: container) }
        }
    }

    func publishOutOfMemory(of container: String) {
        var event = Containerd_Events_TaskOOM()
        event.containerID = container
        events.publish("/tasks/oom", event)
    }
}
