import Glibc
import OCISpec
import ShimAPI
import SwiftProtobuf

/// config.json in the options of a Create.
///
/// kata-runtime hands over the file that it has read, so that both work on the same text. Managers send other options:
/// for them the shim reads the bundle.
package enum SpecOption {
    /// Maximum length in bytes: a ttrpc message has at most 4 MiB. The shim reads a longer file itself.
    private static let limit = 2 << 20

    /// - Parameter json: the bytes of config.json.
    package static func message(_ json: [UInt8]) -> Google_Protobuf_Any {
        json.count <= limit ? SpecPart.spec.message(json) : Google_Protobuf_Any()
    }

    /// The specification of the container to create.
    static func spec(of request: Containerd_Task_V2_CreateTaskRequest) throws -> Spec {
        guard request.options.typeURL == SpecPart.spec.typeURL else { return try Spec.load(bundle: request.bundle) }
        return try Spec.load(json: Array(request.options.value), bundle: request.bundle)
    }
}
