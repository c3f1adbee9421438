import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import NIOPosix
import Testing

@testable import TTRPC

extension String {
    fileprivate func padding(_ count: Int) -> String { self + String(repeating: "x", count: count) }
}

/// Answers as an agent would, for the calls that the tests make.
private struct Agent: AgentService {
    let loop: any EventLoop
    /// Hears of each slow call when it is under way.
    var slowBegan: AsyncStream<Void>.Continuation?

    func waitProcess(_ request: Grpc_WaitProcessRequest, _ context: CallContext) async throws
        -> Grpc_WaitProcessResponse
    {
        if request.containerID == "slow" {
            slowBegan?.yield()
            try await sleep(.milliseconds(300), on: loop)
        }
        if request.containerID == "unknown" { throw RPCError(.notFound, "container unknown does not exist") }
        var response = Grpc_WaitProcessResponse()
        response.status = (request.containerID == "client" ? context.client : Int32(request.execID)) ?? -1
        return response
    }
}

@Suite("ttrpc calls", .timeLimit(.minutes(5)))
struct CallTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    private func connect() async throws -> RPCClient {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let server = RPCServer(eventLoop: loop, services: [Agent.serviceName: Agent(loop: loop).answer])
        try await server.accept(socket: ends[0])
        return try await RPCClient.connect(socket: ends[1], on: loop)
    }

    /// A server at a new socket, and its path.
    private func serve(maxConnections: Int, slowBegan: AsyncStream<Void>.Continuation? = nil) async throws -> String {
        let path = "/tmp/kata-ttrpc-\(UInt32.random(in: 0...UInt32.max))"
        let agent = Agent(loop: loop, slowBegan: slowBegan)
        let server = RPCServer(
            eventLoop: loop, services: [Agent.serviceName: agent.answer], maxConnections: maxConnections)
        _ = try await server.listen(socket: try UnixSocket.listen(path).take())
        return path
    }

    @Test(
        "thousands of clients that send nothing, or half a frame, make room for others; a client that waits for an answer stays"
    )
    func silent() async throws {
        let (began, continuation) = AsyncStream<Void>.makeStream()
        let path = try await serve(maxConnections: 20, slowBegan: continuation)
        defer { unlink(path) }
        let client = try await RPCClient.connect(unixPath: path, on: loop)
        let agent = AgentServiceClient(client: client)
        var silent: [SharedDescriptor] = []
        async let slow = agent.waitProcess(request("slow", "7"), timeout: .longWait)
        // Until it has called, it is one of those that say nothing.
        for await _ in began { break }
        for number in 0..<2000 {
            let socket = try UnixSocket.connect(path)
            if number % 2 == 0 { try socket.writeAll([0, 0, 1], to: "half a frame") }
            silent.append(SharedDescriptor(socket))
            // The descriptors are this process's own.
            if silent.count > 100 { silent.removeFirst() }
            if number % 200 == 0 {
                let other = try await RPCClient.connect(unixPath: path, on: loop)
                let reply = try await AgentServiceClient(client: other).waitProcess(
                    request("c", "\(number)"), timeout: .longWait)
                #expect(reply.status == Int32(number))
                await other.close()
            }
        }
        #expect(try await slow.status == 7)
        await client.close()
    }

    @Test("a client that never reads its answers is not read from any more, and others are answered")
    func neverReads() async throws {
        let path = try await serve(maxConnections: 20)
        defer { unlink(path) }
        let deaf = try UnixSocket.connect(path)
        _ = fcntl(deaf.raw, F_SETFL, O_NONBLOCK)
        var envelope = Ttrpc_Request()
        (envelope.service, envelope.method) = (Agent.serviceName, "no such method".padding(1000))
        var buffer = ByteBuffer()
        Frame(stream: 1, kind: .request, data: try envelope.serializedBytes()).write(to: &buffer)
        let frame = Array(buffer.readableBytesView)
        // It takes so much and no more, however long one goes on.
        var (taken, refused) = (0, 0)
        while refused < 50, taken < 64 << 20 {
            let count = write(deaf.raw, frame, frame.count)
            if count > 0 {
                (taken, refused) = (taken + count, 0)
            } else {
                refused += 1
                usleep(10_000)
            }
        }
        #expect(taken < 8 << 20, "\(taken) bytes of requests were taken")
        let client = try await RPCClient.connect(unixPath: path, on: loop)
        #expect(
            try await AgentServiceClient(client: client).waitProcess(request("c", "3"), timeout: .longWait).status
                == 3)
        await client.close()
    }

    private func request(_ container: String, _ exec: String) -> Grpc_WaitProcessRequest {
        var request = Grpc_WaitProcessRequest()
        request.containerID = container
        request.execID = exec
        return request
    }

    @Test("a call has the pid of its client")
    func client() async throws {
        let client = try await connect()
        let reply = try await AgentServiceClient(client: client).waitProcess(request("client", ""), timeout: .longWait)
        #expect(reply.status == getpid())
        await client.close()
    }

    @Test("a call gets its reply")
    func reply() async throws {
        let client = try await connect()
        let reply = try await AgentServiceClient(client: client).waitProcess(request("c", "42"), timeout: .longWait)
        #expect(reply.status == 42)
        await client.close()
    }

    @Test("a slow call does not hold up the ones after it")
    func concurrency() async throws {
        let client = try await connect()
        let agent = AgentServiceClient(client: client)
        async let slow = agent.waitProcess(request("slow", "1"), timeout: .longWait)
        for number in 2..<50 {
            #expect(
                try await agent.waitProcess(request("c", "\(number)"), timeout: .longWait).status == Int32(number))
        }
        #expect(try await slow.status == 1)
        await client.close()
    }

    @Test("an error keeps its code and its words")
    func errors() async throws {
        let client = try await connect()
        await #expect(throws: RPCError(.notFound, "container unknown does not exist")) {
            try await AgentServiceClient(client: client).waitProcess(request("unknown", "1"), timeout: .longWait)
        }
        await client.close()
    }

    @Test("a call that takes too long ends with a deadline error, and the connection goes on")
    func deadline() async throws {
        let client = try await connect()
        let agent = AgentServiceClient(client: client)
        let error = await #expect(throws: RPCError.self) {
            try await agent.waitProcess(request("slow", "1"), timeout: .milliseconds(50))
        }
        #expect(error?.code == .deadlineExceeded)
        #expect(try await agent.waitProcess(request("c", "3"), timeout: .longWait).status == 3)
        await client.close()
    }

    @Test("a method that is not there answers Unimplemented and names itself")
    func unimplemented() async throws {
        let client = try await connect()
        await #expect(throws: RPCError(.unimplemented, "grpc.AgentService/AddSwap is not implemented")) {
            try await AgentServiceClient(client: client).addSwap(Grpc_AddSwapRequest(), timeout: .longWait)
        }
        let error = await #expect(throws: RPCError.self) {
            let _: Grpc_Metrics = try await client.call(
                "grpc.Other", "Get", Grpc_GetMetricsRequest(), timeout: .longWait)
        }
        #expect(error == RPCError(.unimplemented, "service grpc.Other is not implemented"))
        await client.close()
    }

    @Test("calls in flight fail at once when the other side goes away")
    func hangUp() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let client = try await RPCClient.connect(socket: ends[1], on: loop)
        let other = ends[0]
        let waiting = request("c", "1")
        let call = Task { try await AgentServiceClient(client: client).waitProcess(waiting, timeout: nil) }
        try await sleep(.milliseconds(50), on: loop)
        close(other)
        let error = await #expect(throws: RPCError.self) { try await call.value }
        #expect(error == RPCError(.unavailable, "connection closed"))
    }
}
