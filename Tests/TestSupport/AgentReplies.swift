import AgentAPI
import SwiftProtobuf

/// Answers of an agent that the host decodes.
package enum AgentReplies {
    package static let kinds: [any Message.Type] = [
        Grpc_StatsContainerResponse.self, Grpc_GuestDetailsResponse.self, Grpc_Metrics.self, Grpc_Interfaces.self,
        Grpc_Routes.self, Grpc_WaitProcessResponse.self, Grpc_ReadStreamResponse.self, Grpc_WriteStreamResponse.self,
        Grpc_OOMEvent.self, Types_Interface.self,
    ]
}
