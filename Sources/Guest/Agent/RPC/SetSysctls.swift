import AgentAPI
import Container
import SwiftProtobuf
import TTRPC

extension Service {
    /// Sets sysctls of the guest's own namespaces, which the containers of a pod share.
    func setSysctls(_ request: Grpc_SetSysctlsRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await mappingErrorsToRPC {
            for (name, value) in request.sysctls.sorted(by: { $0.key < $1.key }) {
                try guest.kernel.write(try ContainerPlan.Setting(sysctl: name, value))
            }
            return Google_Protobuf_Empty()
        }
    }
}
