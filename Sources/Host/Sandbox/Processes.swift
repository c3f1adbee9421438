import AgentAPI
import EventLoop
import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec
import Stdio
import TTRPC

extension Sandbox {
    /// Starts a created process.
    /// - Returns: the process, and its container's pid as managers see it.
    /// - Throws: `SandboxError` for a process that does not exist or is not in the state created. Also for a paused
    ///   container, for a sandbox that is not ready, and with the cause when the guest is lost. `RPCError` with the
    ///   agent's refusal. `HookError` of a poststart hook. The first failure of the network, or `SystemError` of a
    ///   stream that can't be opened.
    @discardableResult
    package func start(container: String, exec: String = "") async throws -> (process: ContainerProcess, pid: Int32) {
        let record = try self.container(container)
        let process = try record.process(exec)
        guard process.state == .created else {
            throw SandboxError(
                .wrongState, "process of container \(container) is \(process.state.rawValue), not created")
        }
        guard record.removal == nil else {
            throw SandboxError(.wrongState, "container \(container) is being deleted")
        }
        guard !record.paused else {
            throw SandboxError(.wrongState, "container \(container) is paused; resume it first")
        }
        let agent = try agent()
        let asked = ContinuousClock.now
        process.move(from: .created, to: .starting)
        do {
            if exec.isEmpty { try await start(record, agent) } else { try await start(process, in: record, agent) }
        } catch {
            process.move(from: .starting, to: .created)
            throw await explainLoss(error, "start \(exec.isEmpty ? "" : "process \(exec) of ")container \(container)")
        }
        process.move(from: .starting, to: .running)
        let start = ContinuousClock.now - asked
        log.info(
            "process runs",
            metadata: [
                "container": "\(container)", "exec": "\(exec)", "start_ms": "\(Int(start / .milliseconds(1)))",
                "create_ms": "\(exec.isEmpty ? Int(record.creation / .milliseconds(1)) : 0)",
            ])
        let key = record.key
        Task(executorPreference: executor) { [weak self] in
            var request = Grpc_WaitProcessRequest()
            request.containerID = container
            request.execID = exec.isEmpty ? container : exec
            // A failed wait means that the guest is lost and the process was killed.
            let answer = try? await agent.waitProcess(request, timeout: nil)
            if answer == nil { await self?.guestLost(process, of: key) }
            if answer?.outOfMemory == true { await self?.outOfMemory(process, of: key) }
            await self?.ended(process, of: key, answer?.status ?? ProcessExit.killed.status)
        }
        let started = (process, pid(of: record))
        guard exec.isEmpty else { return started }
        do { try await record.hooks?.afterStart() } catch {
            await kill(record, all: true)
            throw error
        }
        return started
    }

    /// Starts the container's own program.
    private func start(_ record: Container, _ agent: AgentServiceClient) async throws {
        // Managers may add links and write resolv.conf between create and start.
        if let path = record.resolverConfiguration, let text = try? Files.readText(path),
            NameRelay.isNeeded(by: text), let machine
        {
            try await network?.relayNames(machine.channel, machine.relay, limits: limits)
        }
        try await network?.reconcile()
        if !binding.isBound { bindProcessorTime() }
        // Killed and deleted meanwhile: another container may have its name.
        guard present(record.key) != nil else {
            throw SandboxError(.notFound, "container \(record.id) does not exist any more")
        }
        var request = Grpc_StartContainerRequest()
        request.containerID = record.id
        do {
            _ = try await agent.startContainer(request, timeout: record.hooks?.startLimit ?? Deadline.start.limit)
        } catch {
            // Parts of the container may run already: it is started only once.
            record.initial.move(from: .starting, to: .created)
            await kill(record)
            record.initial.closeStreams(parts.relay)
            throw error
        }
    }

    /// Starts a program that was added by exec.
    private func start(_ process: ContainerProcess, in record: Container, _ agent: AgentServiceClient) async throws {
        var request = Grpc_ExecProcessRequest()
        request.containerID = record.id
        request.execID = process.id
        if var specification = process.specification {
            specification.replaceHostProfiles(guestSELinux: plan.guestSELinux)
            if hasFeature(AgentFeature.specJSON) {
                request.processJson = Data(specification.json())
            } else {
                request.process = try Grpc_Process(checking: specification, source: "process.json")
            }
        }
        // The program's first connection to a host socket may arrive before the agent's answer.
        if let specification = process.specification { record.identities.give(process.id, specification) }
        do {
            let ports = try prepare(process)
            request.stdinPort = ports.stdin
            request.stdoutPort = ports.stdout
            request.stderrPort = ports.stderr
            request.plainNewlines = process.streams.plainNewlines
            do { _ = try await agent.execProcess(request, timeout: Deadline.start.limit) } catch {
                ports.cancel()
                process.closeStreams(parts.relay)
                throw error
            }
        } catch {
            record.identities.withdraw(process.id)
            throw error
        }
    }

    /// Records the end of a process after its last output.
    /// - Parameter status: the agent's value; a hostile guest may send any number.
    func ended(_ process: ContainerProcess, of container: ContainerKey, _ status: Int32) async {
        if !process.id.isEmpty { present(container)?.identities.withdraw(process.id) }
        await drained(process.outputs, quiet: Deadline.quietOutput.limit, limit: Deadline.output.limit, on: loop)
        let maximum = Int32(GuestLimit.exitStatus.value)
        let isValid = (0...maximum).contains(status)
        if !isValid { limits.reached(.exitStatus, "\(status) of container \(container.id)") }
        await endInGuest(process, of: container, status: isValid ? status : maximum)
    }

    /// Records an end in a guest that goes on. The guest may still hold the output of a container's program.
    private func endInGuest(_ process: ContainerProcess, of container: ContainerKey, status: Int32) async {
        await end(process, of: present(container), status: status)
        if process.id.isEmpty { boundOutput(of: process, in: container.id) }
    }

    /// Adds a process to a created or running container; `start` runs it.
    /// - Parameter exec: its id, unique in the container.
    /// - Throws: `SandboxError`: `notFound` without such a container, `alreadyExists` for an id in use, `wrongState`
    ///   for a container that has ended or is paused.
    package func addExec(container: String, exec: String, process: OCISpec.Process, streams: StreamPaths) throws {
        let record = try self.container(container)
        guard record.processes[exec] == nil else {
            throw SandboxError(.alreadyExists, "process \(exec) of container \(container) exists already")
        }
        guard record.isAlive else {
            let cause = loss.map { ": " + $0 } ?? ""
            throw SandboxError(
                .wrongState, "container \(container) is \(record.initial.state.rawValue), not running\(cause)")
        }
        guard !record.paused else {
            throw SandboxError(.wrongState, "container \(container) is paused; resume it first")
        }
        record.processes[exec] = ContainerProcess(id: exec, streams: streams, specification: process)
    }

    /// Waits for the end of a process.
    /// - Throws: `SandboxError` (`notFound`) for a container or process that does not exist.
    package func wait(container: String, exec: String = "") async throws -> ContainerProcess.End {
        await (try self.container(container).process(exec)).waitForEnd()
    }

    /// Sends a signal to a process.
    /// - Parameter all: to all processes of the container.
    /// - Throws: `SandboxError`: `notFound` for a process that does not exist or has ended, `wrongState` for a sandbox
    ///   that is not ready. `RPCError`: the agent's refusal, `unavailable` without a machine, `deadlineExceeded`
    ///   without an answer. A SIGKILL for the container that gets no answer ends the machine instead.
    package func signal(_ number: Int32, container: String, exec: String = "", all: Bool = false) async throws {
        try await signal(number, to: try self.container(container), exec: exec, all: all)
    }

    /// Kills a container if it is still there.
    func kill(_ record: Container, all: Bool = false) async {
        guard present(record.key) != nil else { return }
        try? await signal(SIGKILL, to: record, all: all)
    }

    private func signal(_ number: Int32, to record: Container, exec: String = "", all: Bool) async throws {
        let container = record.id
        let process = try record.process(exec)
        guard process.state != .stopped else {
            throw SandboxError(.notFound, "process of container \(container) has ended already")
        }
        if process.state == .created, number == SIGKILL || number == SIGTERM, exec.isEmpty {
            await end(process, of: record, status: 128 + number)
            // The guest does not exist yet, or doesn't know the container, or knows another one by its name.
            if state != .ready || !record.isInGuest || present(record.key) == nil { return }
        }
        var request = Grpc_SignalProcessRequest()
        request.containerID = container
        request.execID = all ? "" : (exec.isEmpty ? container : exec)
        request.signal = UInt32(number)
        let order = request
        do {
            _ = try await ask(try agent(), within: Deadline.signal.limit) {
                try await $0.signalProcess(order, timeout: $1)
            }
        } catch let error as RPCError where error.code == .deadlineExceeded && number == SIGKILL && exec.isEmpty {
            // SIGKILL must end the process: where the guest can't kill it, the host ends the machine.
            log.error("the guest can't kill a container: its machine is ended", metadata: ["error": "\(error)"])
            loss = error.message
            guard let vm = parts.vm else { return }
            vm.kill()
            await machineEnded(await vm.waitForExit())
        }
        if number == SIGKILL { expectEnd(of: process, in: record.key) }
    }

    /// Counts a killed process as ended when the guest does not report its end in time.
    private func expectEnd(of process: ContainerProcess, in container: ContainerKey) {
        guard process.ended == nil else { return }
        Task(executorPreference: executor) { [weak self, loop] in
            try? await sleep(Deadline.killed.limit, on: loop)
            await self?.countAsKilled(process, of: container)
        }
    }

    private func countAsKilled(_ process: ContainerProcess, of container: ContainerKey) async {
        guard process.ended == nil else { return }
        log.error(
            "the guest does not report the end of a killed process: it counts as ended",
            metadata: ["container": "\(container.id)", "exec": "\(process.id)"])
        await endInGuest(process, of: container, status: ProcessExit.killed.status)
    }

    /// Sets the size of a process's terminal, in characters. Does nothing for a process without one.
    /// - Throws: `SandboxError` (`notFound`) for a container or process that does not exist; `wrongState` for a sandbox
    ///   that is not ready. `RPCError` with the agent's refusal, or `deadlineExceeded` without its answer.
    package func resize(container: String, exec: String, rows: UInt32, columns: UInt32) async throws {
        guard try self.container(container).process(exec).streams.terminal else { return }
        var request = Grpc_TtyWinResizeRequest()
        request.containerID = container
        request.execID = exec.isEmpty ? container : exec
        request.row = rows
        request.column = columns
        _ = try await agent().ttyWinResize(request, timeout: Deadline.change.limit)
    }

    /// Closes stdin. The relay still passes the bytes in the fifo, then meets the end of file. The manager's end is
    /// closed by now (containerd closes the fifo before it calls CloseIO).
    /// - Throws: `SandboxError` (`notFound`) for a container or process that does not exist.
    package func closeInput(container: String, exec: String) throws {
        _ = try self.container(container).process(exec)
    }

    // MARK: Streams

    /// Reserves a host port for each stream that has a path; the agent connects to it before the process starts.
    func prepare(_ process: ContainerProcess) throws -> ReservedStreams {
        guard let machine else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        let (streams, relay) = (ReservedStreams(machine.channel), machine.relay)
        process.expectStreams()
        do {
            let paths = process.streams
            if !paths.stdin.isEmpty {
                streams.stdin = try streams.reserve(nextPort(), try HostStream.openInput(paths.stdin)) {
                    input, socket in
                    process.connected(input: relay.connect(from: input, to: socket), relay)
                }
            }
            func output(_ path: String) throws -> UInt32 {
                try streams.reserve(nextPort(), try HostStream.openOutput(path)) { output, socket in
                    process.connected(output: relay.connect(from: socket, to: output), relay)
                }
            }
            if !paths.stdout.isEmpty { streams.stdout = try output(paths.stdout) }
            if !paths.stderr.isEmpty, !paths.terminal { streams.stderr = try output(paths.stderr) }
            return streams
        } catch {
            streams.cancel()
            throw error
        }
    }

    /// A host port that no stream has had before.
    func nextPort() -> UInt32 {
        machine?.lastPort &+= 1
        return machine?.lastPort ?? 0
    }
}
