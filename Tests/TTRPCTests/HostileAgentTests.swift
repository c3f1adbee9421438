import AgentAPI
import Glibc
import LinuxKernel
import NIOPosix
import SwiftProtobuf
import TestSupport
import Testing

@testable import TTRPC

@Suite("agents that answer on purpose what they should not", .timeLimit(.minutes(10)))
struct HostileAgentTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// The agent's end.
    private final class Socket: Sendable {
        private let descriptor: FileDescriptor
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
        func write(_ bytes: [UInt8]) throws { try descriptor.writeAll(bytes, to: "the client") }
    }

    private func connect() async throws -> (RPCClient, Socket) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (try await RPCClient.connect(socket: ends[1], on: loop), Socket(FileDescriptor(owning: ends[0])))
    }

    private static func frame(_ stream: UInt32, _ kind: UInt8, _ data: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: UInt32(data.count).bigEndian) { Array($0) }
            + withUnsafeBytes(of: stream.bigEndian) { Array($0) } + [kind, 0] + data
    }

    @Test("a call ends whatever comes: noise, wrong streams, broken replies, floods; and the next connection works")
    func hostileReplies() async throws {
        var random = Seeded(17)
        var sound = Ttrpc_Response()
        var stats = Grpc_StatsContainerResponse()
        stats.cgroupStats.memoryStats.stats = ["anon": 1]
        stats.networkStats = [.with { $0.name = "eth0" }]
        sound.payload = try stats.serializedBytes()
        let reply: [UInt8] = try sound.serializedBytes()
        for _ in 0..<Fuzz.rounds(60, of: "ttrpc replies of an agent", each: 10) {
            let (client, agent) = try await connect()
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                var data = reply
                for _ in 0..<Int.random(in: 0...6, using: &random) {
                    data[Int.random(in: 0..<data.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                let stream = [UInt32(1), 1, 3, 2, 0, .max].randomElement(using: &random)!
                bytes += Self.frame(stream, UInt8.random(in: 0...4, using: &random), data)
                if Int.random(in: 0..<10, using: &random) == 0 {
                    bytes.insert(
                        UInt8.random(in: 0...255, using: &random), at: Int.random(in: 0...bytes.count, using: &random))
                }
            }
            var request = Grpc_StatsContainerRequest()
            request.containerID = "c"
            let (question, service) = (request, AgentServiceClient(client: client))
            async let answer = try? service.statsContainer(question, timeout: .milliseconds(50))
            try? agent.write(bytes)
            // An answer, or an error in its time; never a trap.
            _ = await answer
            await client.close()
        }
    }

    @Test("calls without an answer leave nothing in the client")
    func silence() async throws {
        let (client, agent) = try await connect()
        for _ in 0..<50 {
            await #expect(throws: RPCError.self) {
                _ = try await client.call("s", "m", payload: [], timeout: .milliseconds(1))
            }
        }
        #expect(try await client.waitingCalls == 0)
        // A late answer has no receiver, and does no harm.
        try agent.write(Self.frame(1, 2, []))
        await client.close()
    }
}
