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
    /// - Throws: `RPCError`: `invalidArgument` for an id, bundle or specification that can't be met, `alreadyExists`
    ///   for an id in use. `failedPrecondition` when the attach process has ended, `unknown` for a configuration,
    ///   machine or hook that fails. The agent's own code for its refusal.
    package func create(_ request: Containerd_Task_V2_CreateTaskRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_CreateTaskResponse
    {
        try await mappingErrorsToRPC {
            let pid: UInt32
            do { pid = try await createContainer(request, caller: Caller(context.metadata)) } catch {
                context.whenAnswered { [self] isWritten in if !isWritten { endIfUnused() } }
                throw error
            }
            context.whenAnswered { [self] isWritten in if !isWritten { discard(request.id) } }
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
        let plainNewlines: Bool

        init(_ metadata: [String: [String]]) {
            process = metadata[ContainerdTasks.processKey]?.first.flatMap(Int32.init)
            let pairs = (metadata[ContainerdTasks.joinsKey] ?? []).map {
                $0.split(separator: "=", maxSplits: 1).map(String.init)
            }
            limits = metadata[ContainerdTasks.limitsKey]?.first.flatMap(ResourceLimits.init)
            plainNewlines = metadata[ContainerdTasks.plainNewlinesKey] != nil
            joins = Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }) { first, _ in first }
        }
    }

    /// Creates the container, in a new VM if it is the sandbox's first.
    /// - Returns: the pid that the manager sees.
    private func createContainer(_ request: Containerd_Task_V2_CreateTaskRequest, caller: Caller) async throws
        -> UInt32
    {
        try Identifier.check(request.id, "container id")
        guard request.bundle.hasPrefix("/") else {
            throw SandboxError(.invalid, "bundle \"\(request.bundle)\" is not an absolute path")
        }
        log.debug("creating a container", metadata: ["container": "\(request.id)", "bundle": "\(request.bundle)"])
        let spec = try SpecOption.spec(of: request)
        let (sandbox, isNew) = try sandboxes.sandbox(for: request, spec: spec, process: caller.process)
        let streams = StreamPaths(
            stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal,
            plainNewlines: caller.plainNewlines)
        try await sandbox.reserve(request.id, bundle: request.bundle, streams: streams)
        var hasMachine = !isNew
        do {
            if let process = caller.process { try watch(attachProcess: process, of: request.id, in: sandbox) }
            let rootfs = try RootFilesystem.prepare(
                request.rootfs, bundle: request.bundle, spec: spec, ledger: sandbox.ledger,
                plugsDisks: sandbox.plan.plugsRootDisks)
            let container = ContainerRequest(
                request.id, bundle: request.bundle, rootfs: rootfs.source, spec: spec, attachProcess: caller.process,
                limits: caller.limits ?? limits,
                joins: caller.process == nil
                    ? SandboxMembership.joins(of: spec, containers: await sandbox.known) : caller.joins,
                made: rootfs.made)
            if isNew {
                try await sandbox.prepare(container)
                try await sandboxes.boot(sandbox)
                hasMachine = true
                log.debug("VM is up")
                publishOutOfMemory(in: sandbox)
                try await sandbox.create(request.id)
            } else {
                try await sandbox.create(container)
            }
        } catch {
            if !hasMachine { sandboxes.forget() }
            await sandbox.release(request.id)
            throw error
        }
        return UInt32(await sandbox.pid(of: request.id))
    }

    /// Ends a container with its attach process, also while it is created.
    ///
    /// An attach process that ends before the container's start means that `create` was killed half-way: no manager
    /// has the container. Its sandbox ends too, unless it has others.
    private func watch(attachProcess process: Int32, of container: String, in sandbox: Sandbox) throws {
        guard let identity = ProcessIdentity(process) else {
            throw SandboxError(.wrongState, "the attach process \(process) of container \(container) has ended")
        }
        try identity.whenEnded { [self] in
            sandboxes.detached { [self] in
                guard await sandbox.hostProcessEnded(container), await sandbox.hasOnly(container) else { return }
                log.warning(
                    "the container's creator ended before its start: the sandbox ends",
                    metadata: ["container": "\(container)"])
                await end()
            }
        }
    }

    /// Removes a container whose manager has gone before it had the answer. A manager that was killed, and did not find
    /// the container when it came back, never asks for it.
    private func discard(_ container: String) {
        sandboxes.detached { [self] in
            guard let sandbox = try? sandboxes.current(), await sandbox.discard(container) else { return }
            log.warning(
                "the manager went before it learned of the container: it is removed",
                metadata: ["container": "\(container)"])
            endIfUnused()
        }
    }

    private func endIfUnused() {
        sandboxes.detached { [self] in if await sandboxes.haveNoContainer() { await end() } }
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
