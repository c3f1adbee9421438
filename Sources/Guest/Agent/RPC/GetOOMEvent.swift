import AgentAPI
import TTRPC

extension Service {
    /// Suspends until the kernel has killed a process of a container for lack of memory.
    func getOOMEvent(_ request: Grpc_GetOOMEventRequest, _ context: CallContext) async throws -> Grpc_OOMEvent {
        var event = Grpc_OOMEvent()
        event.containerID = await guest.oom.next()
        return event
    }
}
