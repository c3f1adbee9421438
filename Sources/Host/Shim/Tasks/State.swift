import Sandbox
import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Reports the state of a process.
    /// - Throws: `RPCError` (`notFound`) for a sandbox, container or process that does not exist.
    package func state(_ request: Containerd_Task_V2_StateRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StateResponse
    {
        try await mappingErrorsToRPC {
            let sandbox = try sandboxes.current()
            let process = try await sandbox.report(container: request.id, exec: request.execID)
            var response = Containerd_Task_V2_StateResponse()
            response.id = request.id
            response.execID = request.execID
            response.bundle = process.bundle
            response.pid = UInt32(process.pid)
            response.stdin = process.streams.stdin
            response.stdout = process.streams.stdout
            response.stderr = process.streams.stderr
            response.terminal = process.streams.terminal
            switch process.state {
            case .created, .starting: response.status = process.paused ? .paused : .created
            case .running: response.status = process.paused ? .paused : .running
            case .stopped: response.status = .stopped
            }
            if let end = process.ended {
                response.exitStatus = UInt32(bitPattern: end.status)
                response.exitedAt = Google_Protobuf_Timestamp(end.at)
            }
            return response
        }
    }
}
