import AgentAPI
import EventLoop
import LinuxKernel
import NIOCore
import OCISpec
import ShimAPI
import SwiftProtobuf
import TTRPC

/// Calls the task API of one shim. Each call blocks the calling thread.
package struct TaskClient: Sendable {
    package let loop: any EventLoop
    package let client: RPCClient

    private static let service = "containerd.task.v2.Task"

    /// - Parameters:
    ///   - address: path of the shim's socket.
    ///   - limit: the time that the shim has to accept the connection; nil: no limit.
    /// - Throws: `SystemError` when the socket has no listener, or EAGAIN when that does not accept in time.
    package static func connect(_ address: String, within limit: Duration? = nil) throws -> TaskClient {
        let loop = try makeEventLoop(descriptors: 64)
        let socket = try UnixSocket.connect(address, within: limit).take()
        let client = try waiting(on: loop) { try await RPCClient.connect(socket: socket, on: loop) }
        return TaskClient(loop: loop, client: client)
    }

    /// Calls a method of the task API.
    /// - Throws: as `perform`.
    package func call<Reply: Message>(
        _ method: String, _ request: some Message, timeout: Duration? = Deadline.shimProcess.limit,
        metadata: [String: [String]] = [:]
    ) throws -> Reply {
        try waiting(on: loop) {
            try await client.call(Self.service, method, request, timeout: timeout, metadata: metadata)
        }
    }

    /// Calls a method that answers nothing.
    /// - Throws: `RPCError` with the shim's refusal, `deadlineExceeded` without its answer in time, `unavailable` when
    ///   it has ended.
    package func perform(
        _ method: String, _ request: some Message, timeout: Duration? = Deadline.shimProcess.limit,
        metadata: [String: [String]] = [:]
    ) throws {
        let _: Google_Protobuf_Empty = try call(method, request, timeout: timeout, metadata: metadata)
    }

    // MARK: The calls

    /// Starts a created process.
    /// - Throws: as `perform`.
    package func start(_ id: String, exec: String = "") throws {
        var request = Containerd_Task_V2_StartRequest()
        request.id = id
        request.execID = exec
        let _: Containerd_Task_V2_StartResponse = try call("Start", request)
    }

    /// Asks for the state of a container.
    /// - Throws: as `perform`.
    package func state(_ id: String, within limit: Duration = Deadline.shimAnswer.limit) throws
        -> Containerd_Task_V2_StateResponse
    {
        var request = Containerd_Task_V2_StateRequest()
        request.id = id
        return try call("State", request, timeout: limit)
    }

    /// Waits for the end of a process.
    /// - Returns: its exit status.
    /// - Throws: as `perform`.
    package func wait(
        _ id: String, exec: String = "", timeout: Duration? = nil, metadata: [String: [String]] = [:]
    ) throws -> Int32 {
        var request = Containerd_Task_V2_WaitRequest()
        request.id = id
        request.execID = exec
        let response: Containerd_Task_V2_WaitResponse = try call(
            "Wait", request, timeout: timeout, metadata: metadata)
        return Int32(bitPattern: response.exitStatus)
    }

    /// Sends a signal.
    /// - Parameter all: to all processes of the container.
    /// - Throws: as `perform`.
    package func kill(_ id: String, exec: String = "", signal: Int32, all: Bool = false) throws {
        var request = Containerd_Task_V2_KillRequest()
        request.id = id
        request.execID = exec
        request.signal = UInt32(signal)
        request.all = all
        try perform("Kill", request, timeout: Deadline.shimAnswer.limit)
    }

    /// Freezes a container.
    /// - Throws: as `perform`.
    package func pause(_ id: String) throws {
        var request = Containerd_Task_V2_PauseRequest()
        request.id = id
        try perform("Pause", request, timeout: Deadline.shimAnswer.limit)
    }

    /// Lets a paused container run.
    /// - Throws: as `perform`.
    package func resume(_ id: String) throws {
        var request = Containerd_Task_V2_ResumeRequest()
        request.id = id
        try perform("Resume", request, timeout: Deadline.shimAnswer.limit)
    }

    /// Sets the size of a process's terminal, in characters.
    /// - Throws: as `perform`.
    package func resize(_ id: String, exec: String = "", rows: UInt16, columns: UInt16) throws {
        var request = Containerd_Task_V2_ResizePtyRequest()
        request.id = id
        request.execID = exec
        request.height = UInt32(rows)
        request.width = UInt32(columns)
        try perform("ResizePty", request, timeout: Deadline.shimAnswer.limit)
    }

    /// Sets new limits of a container.
    /// - Throws: as `perform`.
    package func update(_ id: String, _ limits: OCISpec.Linux.Resources) throws {
        var request = Containerd_Task_V2_UpdateTaskRequest()
        request.id = id
        request.resources = SpecPart.resources.message(limits.json())
        try perform("Update", request, timeout: Deadline.shimAnswer.limit)
    }

    /// Calls a method of the agent in the guest, through the shim (`GuestQueries`).
    /// - Throws: `RPCError` of the shim or the agent: `deadlineExceeded` without an answer in time, `unavailable` when
    ///   the shim has ended.
    package func ask<Reply: Message>(_ method: String, _ request: some Message) throws -> Reply {
        try waiting(on: loop) {
            try await client.call(AgentServiceClient.serviceName, method, request, timeout: Deadline.shimDelete.limit)
        }
    }

    /// Deletes a process that has ended.
    /// - Throws: as `perform`.
    package func delete(_ id: String, exec: String = "") throws {
        var request = Containerd_Task_V2_DeleteRequest()
        request.id = id
        request.execID = exec
        let _: Containerd_Task_V2_DeleteResponse = try call("Delete", request, timeout: Deadline.shimDelete.limit)
    }

    /// Ends a sandbox that CreateSandbox has made, and its shim.
    /// - Returns: false where the shim has none, or is of a version without the Sandbox API.
    /// - Throws: as `perform`, but not `unavailable`.
    func shutdownSandbox(_ id: String, within limit: Duration) throws -> Bool {
        do {
            let _: Containerd_Runtime_Sandbox_V1_ShutdownSandboxResponse = try waiting(on: loop) {
                try await client.call(
                    SandboxServiceClient.serviceName, "ShutdownSandbox",
                    Containerd_Runtime_Sandbox_V1_ShutdownSandboxRequest.with { $0.sandboxID = id }, timeout: limit)
            }
        } catch let error as RPCError where [.notFound, .unimplemented].contains(error.code) {
            return false
        } catch let error as RPCError where error.code == .unavailable {}
        return true
    }

    /// Ends the shim.
    /// - Parameter now: whether to shut down even if the sandbox has containers.
    /// - Throws: as `perform`, but not `unavailable`.
    package func shutdown(_ id: String, now: Bool, within limit: Duration = Deadline.shimAnswer.limit) throws {
        var request = Containerd_Task_V2_ShutdownRequest()
        request.id = id
        request.now = now
        // The shim may end before its answer arrives.
        do { try perform("Shutdown", request, timeout: limit) } catch let error as RPCError
            where error.code == .unavailable
        {}
    }
}
