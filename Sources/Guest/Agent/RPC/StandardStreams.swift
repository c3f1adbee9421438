import AgentAPI
import EventLoop
import SwiftProtobuf
import TTRPC

/// Standard streams of a process, for clients that read and write by calls.
extension Service {
    private func streams(of container: String, _ exec: String) throws(RPCError) -> ProcessStreams {
        try guest.containers.find(container).process(exec).streams
    }

    func ttyWinResize(_ request: Grpc_TtyWinResizeRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            try streams(of: request.containerID, request.execID)
                .resize(rows: UInt16(clamping: request.row), columns: UInt16(clamping: request.column))
            return Google_Protobuf_Empty()
        }
    }

    func closeStdin(_ request: Grpc_CloseStdinRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await mappingErrorsToRPC {
            try streams(of: request.containerID, request.execID).closeInput()
            return Google_Protobuf_Empty()
        }
    }

    /// Writes all bytes; no bytes close the stream.
    func writeStdin(_ request: Grpc_WriteStreamRequest, _ context: CallContext) async throws -> Grpc_WriteStreamResponse
    {
        try await mappingErrorsToRPC {
            let streams = try streams(of: request.containerID, request.execID)
            var response = Grpc_WriteStreamResponse()
            if request.data.isEmpty {
                streams.closeInput()
            } else {
                let bytes = Array(request.data)
                response.len = UInt32(try await blocking("stdin") { try streams.write(bytes) })
            }
            return response
        }
    }

    func readStdout(_ request: Grpc_ReadStreamRequest, _ context: CallContext) async throws -> Grpc_ReadStreamResponse {
        try await read(request, .output)
    }

    func readStderr(_ request: Grpc_ReadStreamRequest, _ context: CallContext) async throws -> Grpc_ReadStreamResponse {
        try await read(request, .error)
    }

    /// Waits for output; no bytes mean its end.
    private func read(_ request: Grpc_ReadStreamRequest, _ stream: ProcessStreams.Standard) async throws
        -> Grpc_ReadStreamResponse
    {
        try await mappingErrorsToRPC {
            let streams = try streams(of: request.containerID, request.execID)
            var response = Grpc_ReadStreamResponse()
            response.data = .init(
                try await blocking("output") { try streams.read(stream, limit: Int(request.len)) })
            return response
        }
    }
}
