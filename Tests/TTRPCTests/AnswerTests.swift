import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import TTRPC

/// Answers one call, and says when its answer is written.
private struct Agent: AgentService {
    let written: OneShot<Bool>
    var fails = false
    var isCalled = OneShot<Void>()
    var mayAnswer = OneShot<Void>()

    func waitProcess(_ request: Grpc_WaitProcessRequest, _ context: CallContext) async throws
        -> Grpc_WaitProcessResponse
    {
        context.whenAnswered { written.complete($0) }
        isCalled.complete(())
        await mayAnswer.wait()
        if fails { throw RPCError(.notFound, "no") }
        return Grpc_WaitProcessResponse()
    }
}

@Suite("Answers that are written", .timeLimit(.minutes(5)))
struct AnswerTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// - Returns: the socket too, which the client owns.
    private func connect(_ agent: Agent) async throws -> (RPCServer, RPCClient, socket: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let server = RPCServer(eventLoop: loop, services: [Agent.serviceName: agent.answer])
        try await server.accept(socket: ends[0])
        return (server, try await RPCClient.connect(socket: ends[1], on: loop), ends[1])
    }

    @Test("a handler hears of its answer once it is written, not before, also of an error", arguments: [false, true])
    func written(fails: Bool) async throws {
        let agent = Agent(written: OneShot(), fails: fails)
        let (_, client, _) = try await connect(agent)
        async let reply = AgentServiceClient(client: client).waitProcess(Grpc_WaitProcessRequest(), timeout: nil)
        #expect(agent.written.value == nil)
        agent.mayAnswer.complete(())
        #expect(await agent.written.wait())
        _ = try? await reply
    }

    @Test("a handler learns that its client has disconnected")
    func gone() async throws {
        let agent = Agent(written: OneShot())
        let (_, client, socket) = try await connect(agent)
        let call = Task {
            try await AgentServiceClient(client: client).waitProcess(Grpc_WaitProcessRequest(), timeout: nil)
        }
        await agent.isCalled.wait()
        hangUp(socket)
        await client.close()
        agent.mayAnswer.complete(())
        #expect(await !agent.written.wait())
        _ = try? await call.value
    }

    @Test("a handler learns that its caller's deadline has passed, and that its answer will not be written")
    func late() async throws {
        let agent = Agent(written: OneShot())
        let (_, client, _) = try await connect(agent)
        await #expect(throws: RPCError.self) {
            try await AgentServiceClient(client: client).waitProcess(
                Grpc_WaitProcessRequest(), timeout: .milliseconds(10))
        }
        // The server's clock began later than the client's: an answer at once could still be in time there.
        #expect(await !agent.written.wait())
        agent.mayAnswer.complete(())
    }

    @Test("closing all connections waits for clients that read to the end, and no longer than its limit for others")
    func close() async throws {
        let agent = Agent(written: OneShot())
        let (server, client, _) = try await connect(agent)
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { Glibc.close(ends[1]) }
        await server.closeConnections(within: .seconds(50))
        try await client.closed.get()
        try await server.accept(socket: ends[0])
        let begin = ContinuousClock.now
        await server.closeConnections(within: .milliseconds(20))
        #expect(.now - begin >= .milliseconds(20))
    }
}
