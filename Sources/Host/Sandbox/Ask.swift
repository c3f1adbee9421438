import AgentAPI
import EventLoop
import LinuxKernel
import NIOCore
import TTRPC

extension Sandbox {
    /// Calls the agent. A guest that can't answer is not waited for, and one that did not last time not as long.
    func ask<Answer: Sendable>(
        _ agent: AgentServiceClient, within limit: Duration,
        _ call: @escaping @Sendable (AgentServiceClient, Duration) async throws -> Answer
    ) async throws -> Answer {
        guard let machine, machine.end == nil else {
            throw RPCError(.unavailable, "sandbox \(id) has no virtual machine any more")
        }
        if let obstacle { throw obstacle }
        let answer = loop.makePromise(of: Answer.self)
        let patience = isSilent ? min(limit, Deadline.silence.limit) : limit
        Task(executorPreference: executor) {
            do { answer.succeed(try await call(agent, patience)) } catch { answer.fail(error) }
        }
        // Whichever comes first keeps the promise.
        let watch = Task(executorPreference: executor) {
            while !Task.isCancelled {
                try await sleep(.milliseconds(200), on: self.loop)
                if let obstacle = await self.obstacle { answer.fail(obstacle) }
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

    /// Why no answer can come, as things stand: somebody has stopped what the guest needs to run.
    private var obstacle: RPCError? {
        if let machine, machine.isHalted {
            return RPCError(
                .deadlineExceeded,
                "the virtual machine of sandbox \(id) is halted: process \(machine.pid) was stopped by a signal")
        }
        if share?.isHalted == true {
            return RPCError(
                .deadlineExceeded,
                "virtiofsd of sandbox \(id), which serves the guest its files, was stopped by a signal")
        }
        return nil
    }
}
