import AgentAPI
import CLinux
import LinuxKernel
import SwiftProtobuf
import TTRPC

/// Renews the state that clones of one VM template would share.
extension Service {
    func setGuestDateTime(_ request: Grpc_SetGuestDateTimeRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            try checkNegativeErrno("set", "clock", clx_set_clock(request.sec, request.usec))
            return Google_Protobuf_Empty()
        }
    }

    func reseedRandomDev(_ request: Grpc_ReseedRandomDevRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let bytes = Array(request.data)
            // SAFETY: the call reads at most `bytes.count` bytes.
            try unsafe checkNegativeErrno("reseed", "/dev/random", clx_add_entropy(bytes, bytes.count))
            return Google_Protobuf_Empty()
        }
    }
}
