import GuestSpec
import OCISpec
import Sandbox
import ShimAPI
import Stdio
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Adds a process, which `start` runs.
    /// - Throws: `RPCError`: `unknown` for an id or process.json that is not valid, `notFound` without the container,
    ///   `alreadyExists` for an id in use. `failedPrecondition` for a container that has ended or is paused.
    package func exec(_ request: Containerd_Task_V2_ExecProcessRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC(for: .people) {
            try Identifier.check(request.execID, "exec id")
            var process = try OCISpec.Process.decode(json: Array(request.spec.value), source: "process.json")
            process.addLimits(limits)
            // CRI-O asks for a terminal here alone.
            process.terminal = request.terminal
            try await sandboxes.current().addExec(
                container: request.id, exec: request.execID, process: process,
                streams: StreamPaths(
                    stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal,
                    plainNewlines: context.metadata[Self.plainNewlinesKey] != nil))
            log.debug("process added", metadata: ["container": "\(request.id)", "exec": "\(request.execID)"])
            var event = Containerd_Events_TaskExecAdded()
            event.containerID = request.id
            event.execID = request.execID
            events.publish("/tasks/exec-added", event)
            return Google_Protobuf_Empty()
        }
    }
}
