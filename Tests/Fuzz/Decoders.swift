import AgentAPI
import NIOCore
import SwiftProtobuf
import TestSupport

@testable import Shim
@testable import TTRPC

/// The decoders of a guest's bytes, by the names of their corpora in Tests/Corpus.
enum Decoders {
    static let names = ["device", "ttrpc", "replies", "figures"]

    /// - Parameter name: one of `names`; otherwise there is no decoder.
    static func named(_ name: String) -> (@Sendable ([UInt8]) throws -> Void)? {
        switch name {
        case "device": { try DeviceSession.play($0) }
        case "ttrpc": { frames($0) }
        case "replies": { try replies($0) }
        case "figures": { try figures($0) }
        default: nil
        }
    }

    /// What comes on the agent's stream.
    private static func frames(_ input: [UInt8]) {
        var decoder = FrameDecoder()
        var buffer = ByteBuffer(bytes: input)
        while decoder.next(&buffer) != nil {}
    }

    /// The messages that the host reads of an agent's answers; the first byte says which.
    private static func replies(_ input: [UInt8]) throws {
        guard let first = input.first else { return }
        let kind = AgentReplies.kinds[Int(first) % AgentReplies.kinds.count]
        _ = try kind.init(serializedBytes: Array(input.dropFirst()))
    }

    /// A container's statistics, as the managers' metrics are made of them.
    private static func figures(_ input: [UInt8]) throws {
        let stats = try Grpc_StatsContainerResponse(serializedBytes: input)
        _ = try Metrics.unified(stats).serializedBytes() as [UInt8]
        _ = try Metrics.legacy(stats).serializedBytes() as [UInt8]
    }
}
