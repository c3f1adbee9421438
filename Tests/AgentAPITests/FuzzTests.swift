import SwiftProtobuf
import TestSupport
import Testing

@testable import AgentAPI

@Suite("Replies of an agent", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("a reply is read or refused, however it is nested and whatever lengths it states")
    func fuzzReplies() throws {
        var stats = Grpc_StatsContainerResponse()
        stats.cgroupStats.memoryStats.stats = ["anon": 1, "file": .max]
        stats.cgroupStats.hugetlbStats = ["2MB": .with { $0.usage = 3 }]
        stats.cgroupStats.blkioStats.ioServicedRecursive = [.with { ($0.op, $0.major, $0.value) = ("Read", 8, 9) }]
        stats.networkStats = [.with { ($0.name, $0.rxBytes) = ("eth0", 7) }]
        let details = Grpc_GuestDetailsResponse.with {
            $0.memBlockSizeBytes = 128 << 20
            $0.agentDetails.extraFeatures = ["a", "b"]
        }
        let interfaces = Grpc_Interfaces.with {
            $0.interfaces = [.with { ($0.name, $0.hwAddr, $0.mtu) = ("eth0", "02:00:00:00:00:01", 1500) }]
        }
        // Data of a group that never ends, and of nested messages.
        let deep = [
            [UInt8](repeating: 0x0b, count: 100_000),
            (0..<200).reduce([]) { inner, _ in [0x0a, UInt8(min(255, inner.count))] + inner },
        ]
        let more: [[UInt8]] = [
            try stats.serializedBytes(), try details.serializedBytes(), try interfaces.serializedBytes(),
            try Grpc_WaitProcessResponse.with { $0.status = .min }.serializedBytes(),
            try Grpc_Metrics.with { $0.metrics = "a{b=\"c\"} 1" }.serializedBytes(),
        ]
        for input in try Fuzz.inputs("protobuf replies", corpus: "ttrpc", more: more + deep, rounds: 2000) {
            for kind in AgentReplies.kinds { _ = try? kind.init(serializedBytes: input) }
        }
    }
}
