import AgentAPI
import EventLoop
import LinuxKernel
import NIOCore
import TTRPC

extension Sandbox {
    /// The agent of a sandbox that is ready.
    func agent() throws -> AgentServiceClient {
        guard state == .ready, let machine else {
            throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not ready")
        }
        return machine.agent
    }

    /// Calls the agent. Fails at once if the machine is gone or halted, and uses a shorter timeout after a call that
    /// timed out.
    func ask<Answer: Sendable>(
        _ agent: AgentServiceClient, within limit: Duration,
        _ call: @escaping @Sendable (AgentServiceClient, Duration) async throws -> Answer
    ) async throws -> Answer {
        guard let vm = parts.vm, vm.exit == nil else {
            throw RPCError(.unavailable, "sandbox \(id) has no virtual machine any more")
        }
        if let unavailableReason { throw unavailableReason }
        let answer = loop.makePromise(of: Answer.self)
        let timeout = isSilent ? min(limit, Deadline.silence.limit) : limit
        Task(executorPreference: executor) {
            do { answer.succeed(try await call(agent, timeout)) } catch { answer.fail(error) }
        }
        // Polls the hypervisor's state: a stop by a signal is reported only to its parent, through wait(2) with
        // WUNTRACED.
        let watch = Task(executorPreference: executor) {
            while !Task.isCancelled {
                try await sleep(Self.haltCheckPause, on: self.loop)
                if let reason = await self.unavailableReason { answer.fail(reason) }
            }
        }
        defer { watch.cancel() }
        do {
            let result = try await answer.futureResult.get()
            isSilent = false
            return result
        } catch let error as RPCError where error.code == .deadlineExceeded {
            isSilent = true
            throw error
        }
    }

    private static let haltCheckPause = Duration.milliseconds(200)

    /// The reason why no answer can come at present: a signal has stopped a process that the guest needs.
    private var unavailableReason: RPCError? {
        if let vm = parts.vm, vm.isHalted {
            return RPCError(
                .deadlineExceeded,
                "the virtual machine of sandbox \(id) is halted: process \(vm.pid) was stopped by a signal")
        }
        if let server = parts.fileServer, server.isHalted {
            return RPCError(
                .deadlineExceeded,
                "\(server.name) of sandbox \(id), which serves the guest its files, was stopped by a signal")
        }
        return nil
    }

    /// Whether the agent has a feature beside Kata's API (`AgentFeature`).
    func hasFeature(_ name: String) -> Bool { machine?.agentFeatures.contains(name) == true }

    /// Passes a call to the agent without decoding it.
    /// - Throws: `SandboxError` (`wrongState`) for a sandbox that is not ready. `RPCError` of the call.
    package func ask(agent method: String, _ payload: [UInt8]) async throws -> [UInt8] {
        try await agent().client.call(
            AgentServiceClient.serviceName, method, payload: payload, timeout: Deadline.question.limit)
    }
}
