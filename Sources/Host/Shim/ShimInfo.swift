import AgentAPI
import OCISpec
import ShimAPI
import SwiftProtobuf

/// `-info`: what containerd 2.0 and later learn of the runtime before they use it.
package enum ShimInfo {
    private static let features = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

    /// The features as `kata-runtime features` prints them: CRI-O asks the shim for them.
    package static var featuresText: String { String(decoding: Features.current.json(pretty: true), as: UTF8.self) }

    /// Reads the runtime options from standard input.
    /// - Returns: the bytes for standard output.
    /// - Throws: `UsageError` when standard input holds something else.
    package static func run() throws -> [UInt8] { try answer(StartParameters.readInput()) }

    /// - Parameter input: the runtime options of the manager's configuration, or nothing.
    static func answer(_ input: [UInt8]) throws -> [UInt8] {
        var info = Containerd_Types_RuntimeInfo()
        info.name = "io.containerd.kata.v2"
        info.version.version = Version.current
        if !input.isEmpty {
            guard let options = try? Google_Protobuf_Any(serializedBytes: input) else {
                throw UsageError("standard input holds no runtime options")
            }
            info.options = options
        }
        info.features.typeURL = features
        info.features.value = .init(Features.current.json())
        return try info.serializedBytes()
    }
}
