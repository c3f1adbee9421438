import AgentAPI
import EventLoop
import LinuxKernel
import NIOCore
import TTRPC

/// Creations that take longer than `create_container_timeout`.
extension Sandbox {
    /// Creates a container in the guest.
    ///
    /// A guest that does not answer in time may still create the container. It is removed there once the answer has
    /// come, in the background; until then no other container gets its name.
    /// - Throws: `RPCError`: the agent's refusal, `deadlineExceeded` without its answer in time, `unavailable` when the
    ///   connection has ended.
    func createInGuest(_ request: Grpc_CreateContainerRequest, _ agent: AgentServiceClient) async throws {
        let limit = plan.createTimeout
        // An agent that knew the limit would answer when it is over, and still create the container.
        let creation = Task(executorPreference: executor) {
            _ = try await agent.createContainer(request, timeout: limit + Deadline.lateCreation.limit)
        }
        let isInTime = OneShot<Bool>()
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { _ = isInTime.complete(false) }
        Task(executorPreference: executor) {
            _ = await creation.result
            isInTime.complete(true)
        }
        guard await isInTime.wait() else {
            removeWhenCreated(request.containerID, creation)
            throw RPCError(
                .deadlineExceeded, "the guest has not created the container within \(limit) (create_container_timeout)")
        }
        timer.cancel()
        try await creation.value
    }

    private func removeWhenCreated(_ container: String, _ creation: Task<Void, any Error>) {
        heldNames.hold(container)
        Task(executorPreference: executor) { [weak self] in
            let result = await creation.result
            await self?.removeLate(container, result)
        }
    }

    private func removeLate(_ container: String, _ creation: Result<Void, any Error>) async {
        defer { heldNames.free(container) }
        do { try creation.get() } catch let error as RPCError where error.code == .deadlineExceeded {
            return log.error(
                "the guest does not answer: it may keep a container that was to be created",
                metadata: ["container": "\(container)"])
        } catch { return }
        // A guest that ends takes the container along.
        guard state == .ready else { return }
        do {
            try await removeFromGuest(container)
            log.info(
                "the guest has created a container too late: it is removed", metadata: ["container": "\(container)"])
        } catch {
            log.error(
                "the guest keeps a container that it has created too late",
                metadata: ["container": "\(container)", "error": "\(error)"])
        }
    }
}
