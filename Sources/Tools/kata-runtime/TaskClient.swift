import AgentAPI
import EventLoop
import LinuxKernel
import NIOCore
import Shim
import ShimAPI
import SwiftProtobuf
import TTRPC

/// Calls to the shim of one container, from a process that has nothing else to do.
struct TaskClient: Sendable {
    let loop: any EventLoop
    let client: RPCClient

    static func connect(_ address: String) throws -> TaskClient {
        let loop = try makeEventLoop(descriptors: 64)
        let client = try waiting(on: loop) { try await RPCClient.connect(unixPath: address, on: loop) }
        return TaskClient(loop: loop, client: client)
    }

    func call<Reply: Message>(
        _ method: String, _ request: some Message, timeout: Duration? = Deadline.shimProcess.limit,
        metadata: [String: [String]] = [:]
    ) throws -> Reply {
        try waiting(on: loop) {
            try await client.call("containerd.task.v2.Task", method, request, timeout: timeout, metadata: metadata)
        }
    }

    func perform(_ method: String, _ request: some Message, timeout: Duration? = Deadline.shimProcess.limit) throws {
        let _: Google_Protobuf_Empty = try call(method, request, timeout: timeout)
    }

    // MARK: The calls

    func start(_ id: String, exec: String = "") throws {
        var request = Containerd_Task_V2_StartRequest()
        request.id = id
        request.execID = exec
        let _: Containerd_Task_V2_StartResponse = try call("Start", request)
    }

    func state(_ id: String) throws -> Containerd_Task_V2_StateResponse {
        var request = Containerd_Task_V2_StateRequest()
        request.id = id
        return try call("State", request, timeout: Deadline.shimAnswer.limit)
    }

    func wait(_ id: String, exec: String = "", timeout: Duration? = nil) throws -> Int32 {
        var request = Containerd_Task_V2_WaitRequest()
        request.id = id
        request.execID = exec
        let response: Containerd_Task_V2_WaitResponse = try call("Wait", request, timeout: timeout)
        return Int32(bitPattern: response.exitStatus)
    }

    func kill(_ id: String, exec: String = "", signal: Int32, all: Bool = false) throws {
        var request = Containerd_Task_V2_KillRequest()
        request.id = id
        request.execID = exec
        request.signal = UInt32(signal)
        request.all = all
        try perform("Kill", request, timeout: Deadline.shimAnswer.limit)
    }

    func pause(_ id: String) throws {
        var request = Containerd_Task_V2_PauseRequest()
        request.id = id
        try perform("Pause", request, timeout: Deadline.shimAnswer.limit)
    }

    func resume(_ id: String) throws {
        var request = Containerd_Task_V2_ResumeRequest()
        request.id = id
        try perform("Resume", request, timeout: Deadline.shimAnswer.limit)
    }

    func resize(_ id: String, exec: String = "", rows: UInt16, columns: UInt16) throws {
        var request = Containerd_Task_V2_ResizePtyRequest()
        request.id = id
        request.execID = exec
        request.height = UInt32(rows)
        request.width = UInt32(columns)
        try perform("ResizePty", request, timeout: Deadline.shimAnswer.limit)
    }

    /// A question that the shim hands on to the agent in the guest.
    func ask<Reply: Message>(_ method: String, _ request: some Message) throws -> Reply {
        try waiting(on: loop) {
            try await client.call(AgentServiceClient.serviceName, method, request, timeout: Deadline.shimDelete.limit)
        }
    }

    /// Forgets a process that has ended.
    func delete(_ id: String, exec: String = "") throws {
        var request = Containerd_Task_V2_DeleteRequest()
        request.id = id
        request.execID = exec
        let _: Containerd_Task_V2_DeleteResponse = try call("Delete", request, timeout: Deadline.shimDelete.limit)
    }

    /// - Parameter now: also when there are containers in the sandbox.
    func shutdown(_ id: String, now: Bool) throws {
        var request = Containerd_Task_V2_ShutdownRequest()
        request.id = id
        request.now = now
        // The shim may be gone before its answer is.
        do { try perform("Shutdown", request, timeout: Deadline.shimAnswer.limit) } catch let error as RPCError
            where error.code == .unavailable
        {}
    }
}
