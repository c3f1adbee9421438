import AgentAPI
import SwiftProtobuf

/// What the host decodes of an agent's answers.
package enum AgentReplies {
    package static let kinds: [any Message.Type] = [
        Grpc_StatsContainerResponse.self, Grpc_GuestDetailsResponse.self, Grpc_Metrics.self, Grpc_Interfaces.self,
        Grpc_Routes.self, Grpc_WaitProcessResponse.self, Grpc_ReadStreamResponse.self, Grpc_WriteStreamResponse.self,
        Grpc_OOMEvent.self, Types_Interface.self,
    ]
}
