import SwiftProtobuf

/// A part of config.json that a message carries as JSON, with the type URL that containerd's clients give it
/// (github.com/containerd/typeurl).
package enum SpecPart: String, Sendable {
    case spec = "Spec"
    case process = "Process"
    case resources = "LinuxResources"

    var typeURL: String { "types.containerd.io/opencontainers/runtime-spec/1/" + rawValue }

    package func message(_ json: [UInt8]) -> Google_Protobuf_Any {
        var message = Google_Protobuf_Any()
        message.typeURL = typeURL
        message.value = .init(json)
        return message
    }
}
