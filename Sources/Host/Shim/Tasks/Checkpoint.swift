import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Refuses a checkpoint.
    /// - Throws: `RPCError` (`unimplemented`), always.
    package func checkpoint(_ request: Containerd_Task_V2_CheckpointTaskRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    { throw RPCError(.unimplemented, Checkpoint.refusal(of: "checkpoint")) }
}

/// The saved state of a container's processes, which no machine has.
package enum Checkpoint {
    /// The sentence with which a command is refused.
    /// - Parameter verb: `checkpoint` or `restore`.
    package static func refusal(of verb: String) -> String {
        "\(verb) is not possible: the processes of a container are those of a machine, which CRIU can't reach"
    }

    /// Refuses to create a container from a checkpoint. Its program would begin anew.
    /// - Throws: `RPCError` (`unimplemented`) where the request names one.
    static func refuse(_ request: Containerd_Task_V2_CreateTaskRequest) throws(RPCError) {
        guard request.checkpoint.isEmpty else { throw RPCError(.unimplemented, refusal(of: "restore")) }
    }
}
