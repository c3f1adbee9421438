import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import TTRPC

@Suite("agents that answer as agents do, and too much", .serialized, .timeLimit(.minutes(5)))
struct ReplyLimitTests {
    private let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()

    /// The limits that were reached, in order.
    private final class Reached: Sendable {
        private let limits = Mutex<[GuestLimit]>([])
        var all: [GuestLimit] { limits.withLock { $0 } }
        func add(_ limit: GuestLimit) { limits.withLock { $0.append(limit) } }
    }

    private func connect(to agent: FakeAgent, _ reached: Reached = Reached()) async throws -> RPCClient {
        try await RPCClient.connect(socket: agent.host, limits: .agent { limit, _ in reached.add(limit) }, on: loop)
    }

    private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: UInt8(ascii: "x"), count: count) }

    @Test("a reply beyond its method's limit fails its call, by both names; the connection goes on")
    func longReply() async throws {
        let reached = Reached()
        let agent = try FakeAgent { call in
            switch call.method {
            case "GetOOMEvent": .reply(Grpc_OOMEvent.with { $0.containerID = String(repeating: "c", count: 4_000_000) })
            case "StatsContainer": .reply([UInt8](repeating: 0x7a, count: 300_000))
            case "GetMetrics": .reply(Grpc_Metrics.with { $0.metrics = String(repeating: "m", count: 4_000_000) })
            default: .reply([])
            }
        }
        let client = try await connect(to: agent, reached)
        let service = AgentServiceClient(client: client)
        let error = await #expect(throws: RPCError.self) {
            try await service.getOOMEvent(Grpc_GetOOMEventRequest(), timeout: .longWait)
        }
        #expect(error?.code == .resourceExhausted)
        #expect(error?.message.hasPrefix("grpc.AgentService/GetOOMEvent: reply of 4000") == true)
        #expect(error?.message.hasSuffix("is longer than 65536") == true)
        await #expect(throws: RPCError.self) {
            try await service.statsContainer(Grpc_StatsContainerRequest(), timeout: .longWait)
        }
        #expect(reached.all == [.reply, .figures])
        // Text without a structure may be of megabytes.
        #expect(
            try await service.getMetrics(Grpc_GetMetricsRequest(), timeout: .longWait).metrics.utf8.count
                == 4_000_000)
        await client.close()
    }

    @Test("an error's text is cut and made printable before anybody has it")
    func longError() async throws {
        let reached = Reached()
        let text = "\u{1b}[2Jgone\nlevel=error msg=\"forged\"" + String(repeating: "y", count: 60_000)
        let agent = try FakeAgent { call in
            call.method == "PauseContainer"
                ? .failure(RPCError(.internal, String(repeating: "z", count: 3 << 20)))
                : .failure(RPCError(.notFound, text))
        }
        let client = try await connect(to: agent, reached)
        let service = AgentServiceClient(client: client)
        let error = await #expect(throws: RPCError.self) {
            try await service.startContainer(Grpc_StartContainerRequest(), timeout: .longWait)
        }
        #expect(error?.code == .notFound)
        #expect(error?.message.hasPrefix(" [2Jgone level=error msg=\"forged\"yyy") == true)
        #expect(error?.message.utf8.count == 1024 + "…".utf8.count)
        // An error text of megabytes is dropped.
        let huge = await #expect(throws: RPCError.self) {
            try await service.pauseContainer(Grpc_PauseContainerRequest(), timeout: .longWait)
        }
        #expect(huge?.code == .resourceExhausted)
        #expect(reached.all == [.errorText, .reply])
        await client.close()
    }

    @Test(
        "replies to calls that were never made cost nothing, and the next call is answered",
        .notUnderSanitizers)
    func uncalled() async {
        await #expect(processExitsWith: .success) { try await ReplyLimitTests().takeUncalled() }
    }

    private func takeUncalled() async throws {
        let agent = try FakeAgent { _ in .reply([]) }
        let client = try await connect(to: agent)
        let before = ResidentMemory.now
        let reply = bytes(4 << 20)
        // From a thread of the test's: it waits until the client has taken them.
        try await blocking("flood") {
            for number in 0..<100 { agent.send(FakeAgent.frame(UInt32(2 * number + 1001), reply)) }
        }
        let service = AgentServiceClient(client: client)
        _ = try await service.startContainer(Grpc_StartContainerRequest(), timeout: .longWait)
        let grown = ResidentMemory.peak - before
        #expect(grown < 64 << 20, "\(grown >> 20) MiB more")
        await client.close()
    }

    @Test(
        "of calls whose replies may be of megabytes, eight are under way; the others have their turns, in their own time"
    )
    func largeCalls() async throws {
        let reached = Reached()
        let held = Mutex<[UInt32]>([])
        let agent = try FakeAgent { call in
            guard call.method == "GetMetrics" else { return .reply([]) }
            held.withLock { $0.append(call.stream) }
            return .silence
        }
        let client = try await connect(to: agent, reached)
        let service = AgentServiceClient(client: client)
        let answers = (0..<20).map { _ in
            Task { try await service.getMetrics(Grpc_GetMetricsRequest(), timeout: .longWait) }
        }
        while try await client.waitingCalls < 20 { try await sleep(.milliseconds(5), on: loop) }
        // Other calls are not held up.
        _ = try await service.startContainer(Grpc_StartContainerRequest(), timeout: .longWait)
        #expect(agent.count("GetMetrics") == 8 && reached.all.contains(.largeCalls))
        // One that gives up makes room, and so does one that is answered.
        await #expect(throws: RPCError.self) {
            try await service.getMetrics(Grpc_GetMetricsRequest(), timeout: .milliseconds(20))
        }
        var answered = 0
        while answered < 20 {
            let streams = held.withLock { held in
                defer { held = [] }
                return held
            }
            for stream in streams {
                agent.send(FakeAgent.frame(stream, try Ttrpc_Response().serializedBytes()))
                answered += 1
            }
            if streams.isEmpty { try await sleep(.milliseconds(5), on: loop) }
        }
        for answer in answers { _ = try await answer.value }
        #expect(try await client.waitingCalls == 0)
        await client.close()
    }
}
