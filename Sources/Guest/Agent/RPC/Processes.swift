import AgentAPI
import Container
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import SwiftProtobuf
import TTRPC

/// Processes of containers and their streams.
extension Service {
    func execProcess(_ request: Grpc_ExecProcessRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await guest.answering {
            let record = try guest.container(request.containerID)
            guard record.processes[request.execID] == nil, !request.execID.isEmpty else {
                throw RPCError(
                    .alreadyExists, "process \(request.execID) of container \(request.containerID) exists already")
            }
            guard record.initial.status == nil else {
                throw RPCError(.failedPrecondition, "container \(request.containerID) has ended")
            }
            let plan = ExecPlan(try ProcessPlan(try request.specification()), in: record.plan)
            let ports = StreamPorts(
                stdin: request.stdinPort, stdout: request.stdoutPort, stderr: request.stderrPort)
            let process = try await blocking("exec") { [guest] in
                let launch = Launch.exec(plan, target: record.initial.pid, cgroup: record.plan.cgroup)
                let process = try GuestProcess(launch, in: guest, filter: record.filter, ports: ports)
                try process.start()
                return process
            }
            guest.state.withLock { $0.containers[request.containerID]?.processes[request.execID] = process }
            return Google_Protobuf_Empty()
        }
    }

    func listProcesses(_ request: Grpc_ListProcessesRequest, _ context: CallContext) async throws
        -> Grpc_ListProcessesResponse
    {
        try await guest.answering {
            let processes = try guest.container(request.containerID).cgroup.allProcesses.sorted()
            var response = Grpc_ListProcessesResponse()
            switch request.format {
            case "json":
                response.processList = .init("[\(processes.map(String.init).joined(separator: ","))]".utf8)
            case "", "table":
                do {
                    let table = try ProcessTable(options: request.args)
                    response.processList = .init(table.text(processes.compactMap(ProcessEntry.read), .current).utf8)
                } catch let error as ProcessTableError { throw RPCError(.invalidArgument, error.description) }
            default:
                throw RPCError(.invalidArgument, "format: \"\(request.format)\" is neither table nor json")
            }
            return response
        }
    }

    func signalProcess(_ request: Grpc_SignalProcessRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let record = try guest.container(request.containerID)
            let signal = Int32(bitPattern: request.signal)
            if request.execID.isEmpty {
                if signal == SIGKILL {
                    try record.cgroup.killAll()
                } else {
                    for pid in record.cgroup.allProcesses { kill(pid, signal) }
                }
            } else {
                let process = try guest.process(request.containerID, request.execID)
                // To the first process of a pid namespace the kernel brings no signal whose default would end it (pid_namespaces(7)): a stop
                // would last until the manager loses patience.
                let deaf = process === record.initial && signal == SIGTERM && !process.knows(signal)
                try process.signal(deaf ? SIGKILL : signal)
            }
            return Google_Protobuf_Empty()
        }
    }

    func waitProcess(_ request: Grpc_WaitProcessRequest, _ context: CallContext) async throws
        -> Grpc_WaitProcessResponse
    {
        try await guest.answering {
            let process = try guest.process(request.containerID, request.execID)
            var response = Grpc_WaitProcessResponse()
            response.status = await process.wait(on: guest.loop)
            if !request.execID.isEmpty, request.execID != request.containerID {
                process.streams.release()
                guest.state.withLock {
                    _ = $0.containers[request.containerID]?.processes.removeValue(forKey: request.execID)
                }
            }
            return response
        }
    }

    func ttyWinResize(_ request: Grpc_TtyWinResizeRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty
    {
        try await guest.answering {
            try guest.process(request.containerID, request.execID)
                .streams.resize(rows: UInt16(clamping: request.row), columns: UInt16(clamping: request.column))
            return Google_Protobuf_Empty()
        }
    }

    func closeStdin(_ request: Grpc_CloseStdinRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await guest.answering {
            try guest.process(request.containerID, request.execID).streams.closeInput()
            return Google_Protobuf_Empty()
        }
    }

    func writeStdin(_ request: Grpc_WriteStreamRequest, _ context: CallContext) async throws -> Grpc_WriteStreamResponse
    {
        try await guest.answering {
            let streams = try guest.process(request.containerID, request.execID).streams
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

    private func read(_ request: Grpc_ReadStreamRequest, _ stream: ProcessStreams.Standard) async throws
        -> Grpc_ReadStreamResponse
    {
        try await guest.answering {
            let streams = try guest.process(request.containerID, request.execID).streams
            var response = Grpc_ReadStreamResponse()
            response.data = .init(
                try await blocking("output") { try streams.read(stream, limit: Int(request.len)) })
            return response
        }
    }
}
