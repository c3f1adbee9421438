import AgentAPI
import EventLoop
import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec
import TTRPC

extension Sandbox {
    package func start(container: String, exec: String = "") async throws {
        let record = try self.container(container)
        let process = try record.process(exec)
        guard process.state == .created else {
            throw SandboxError(
                .wrongState, "process of container \(container) is \(process.state.rawValue), not created")
        }
        let agent = try agent()
        let asked = ContinuousClock.now
        if exec.isEmpty { try await start(record, agent) } else { try await start(process, in: record, agent) }
        process.state = .running
        // What the guest took, apart from what the host and its manager did.
        let start = ContinuousClock.now - asked
        log.info(
            "process runs",
            metadata: [
                "container": "\(container)", "exec": "\(exec)", "start_ms": "\(Int(start / .milliseconds(1)))",
                "create_ms": "\(exec.isEmpty ? Int(record.creation / .milliseconds(1)) : 0)",
            ])
        Task(executorPreference: executor) { [weak self] in
            var request = Grpc_WaitProcessRequest()
            request.containerID = container
            request.execID = exec.isEmpty ? container : exec
            // A wait that is lost means that the guest is lost, and with it the process: killed.
            let status = (try? await agent.waitProcess(request, timeout: nil).status) ?? 137
            await self?.ended(process, of: container, status)
        }
        guard exec.isEmpty else { return }
        do { try await record.hooks?.afterStart() } catch {
            try? await signal(SIGKILL, container: container, all: true)
            throw error
        }
    }

    /// Starts the container's own program.
    private func start(_ record: Container, _ agent: AgentServiceClient) async throws {
        // Others give the links between create and start, by hooks or by the task's pid, and write then who resolves names there.
        if let path = record.resolverConfiguration, let text = try? Files.readText(path),
            NameRelay.isNeeded(by: text), let dialer, let relay
        {
            try await network?.relayNames(dialer, relay)
        }
        try await network?.follow()
        var request = Grpc_StartContainerRequest()
        request.containerID = record.id
        do {
            _ = try await agent.startContainer(request, timeout: record.hooks?.startLimit ?? Deadline.start.limit)
        } catch {
            // Whatever of it is there: it has had its start.
            try? await signal(SIGKILL, container: record.id)
            throw error
        }
    }

    /// Starts a program that was added by exec.
    private func start(_ process: ContainerProcess, in record: Container, _ agent: AgentServiceClient) async throws {
        var request = Grpc_ExecProcessRequest()
        request.containerID = record.id
        request.execID = process.id
        if var specification = process.specification {
            specification.keepHostProfiles(guestSELinux: plan.guestSELinux)
            if agentFeatures.contains(AgentFeature.specJSON) {
                request.processJson = Data(specification.json())
            } else {
                request.process = try Grpc_Process(checking: specification, source: "process.json")
            }
        }
        // Its first connection to a socket of the host may be there before the agent's answer.
        if let specification = process.specification { record.identities.give(process.id, specification) }
        do {
            let ports = try prepare(process)
            request.stdinPort = ports.stdin
            request.stdoutPort = ports.stdout
            request.stderrPort = ports.stderr
            do { _ = try await agent.execProcess(request, timeout: Deadline.start.limit) } catch {
                ports.cancel()
                throw error
            }
        } catch {
            record.identities.withdraw(process.id)
            throw error
        }
    }

    /// - Parameter status: as the agent tells it.
    func ended(_ process: ContainerProcess, of container: String, _ status: Int32) async {
        if !process.id.isEmpty { containers[container]?.identities.withdraw(process.id) }
        await drained(process.outputs, quiet: Deadline.quietOutput.limit, limit: Deadline.output.limit, on: loop)
        process.endInput(relay)
        let most = Int32(GuestLimit.exitStatus.value)
        if !(0...most).contains(status) { limits.reached(.exitStatus, "\(status) of container \(container)") }
        process.end(status: (0...most).contains(status) ? status : most)
    }

    /// Of a process that nobody knows any more: what it wrote and its manager does not read is kept for a while, not for ever.
    func giveUp(_ process: ContainerProcess) {
        let outputs = process.outputs.filter(\.isUnread).map { (stream: $0, moved: $0.moved) }
        guard !outputs.isEmpty else { return }
        Task(executorPreference: executor) { [relay, loop] in
            try? await sleep(Deadline.unread.limit, on: loop)
            for (stream, moved) in outputs where stream.isUnread && stream.moved == moved { relay?.end(stream) }
        }
    }

    package func addExec(container: String, exec: String, process: OCISpec.Process, streams: StreamPaths) throws {
        let record = try self.container(container)
        guard record.processes[exec] == nil else {
            throw SandboxError(.alreadyExists, "process \(exec) of container \(container) exists already")
        }
        guard record.initial.state == .running else {
            let cause = loss.map { ": " + $0 } ?? ""
            throw SandboxError(
                .wrongState, "container \(container) is \(record.initial.state.rawValue), not running\(cause)")
        }
        guard !record.paused else {
            throw SandboxError(.wrongState, "container \(container) is paused; resume it first")
        }
        record.processes[exec] = ContainerProcess(id: exec, streams: streams, specification: process)
    }

    package func wait(container: String, exec: String = "") async throws -> (status: Int32, at: timespec) {
        await (try self.container(container).process(exec)).waitForEnd()
    }

    package func signal(_ number: Int32, container: String, exec: String = "", all: Bool = false) async throws {
        let record = try self.container(container)
        let process = try record.process(exec)
        if process.state == .stopped {
            if number == SIGKILL || number == SIGTERM { return }
            throw SandboxError(.notFound, "process of container \(container) has ended already")
        }
        if process.state == .created, number == SIGKILL || number == SIGTERM, exec.isEmpty {
            process.end(status: 128 + number)
            // Before there is a guest that would know it.
            if state != .ready { return }
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
            // Nothing outlives SIGKILL: where the guest can't do it, the host does.
            log.error("the guest can't kill a container: its machine is ended", metadata: ["error": "\(error)"])
            loss = error.message
            guard let machine else { return }
            machine.kill()
            machineEnded("\(await machine.waitForExit())")
        }
    }

    package func resize(container: String, exec: String, rows: UInt32, columns: UInt32) async throws {
        var request = Grpc_TtyWinResizeRequest()
        request.containerID = container
        request.execID = exec.isEmpty ? container : exec
        request.row = rows
        request.column = columns
        _ = try await agent().ttyWinResize(request, timeout: Deadline.change.limit)
    }

    /// The manager writes no more. What is in its fifo still goes in: the relay meets the end of file behind it, as the
    /// manager's end is closed by now (containerd closes the fifo before it calls CloseIO).
    package func closeInput(container: String, exec: String) throws {
        _ = try self.container(container).process(exec)
    }

    // MARK: Streams

    /// Reserves a host port for each stream that leads somewhere; the agent connects to it before the process starts.
    func prepare(_ process: ContainerProcess) throws -> ReservedStreams {
        guard let dialer, let relay else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        let streams = ReservedStreams(dialer)
        do {
            let paths = process.streams
            if !paths.stdin.isEmpty {
                streams.stdin = try streams.reserve(nextPort(), try HostStream.openInput(paths.stdin)) {
                    input, socket in
                    process.connected(input: relay.connect(from: input, to: socket))
                }
            }
            func output(_ path: String) throws -> UInt32 {
                try streams.reserve(nextPort(), try HostStream.openOutput(path)) { output, socket in
                    process.connected(output: relay.connect(from: socket, to: output))
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

    func nextPort() -> UInt32 {
        lastPort &+= 1
        return lastPort
    }
}
