import FoundationEssentials
import Glibc
import LinuxKernel
import ShimAPI
import SwiftProtobuf

/// Standard input of `start`: nothing (containerd before 1.6), runtime options (from 1.6), or bootstrap parameters
/// (from 2.3).
package struct StartParameters: Equatable, Sendable {
    /// Maximum length of standard input, in bytes.
    package static let lengthLimit = 10 << 20

    /// `ConfigPath` of the runtime options; empty if there is none.
    package var configurationPath = ""
    /// Directory for the shim's socket.
    package var socketDirectory = SocketAddress.directory
    package var debug = false
    /// Whether the manager expects a protobuf answer instead of the plain address.
    package var answersBootstrap = false

    /// - Parameter bytes: all of standard input.
    /// - Throws: `UsageError` for bytes that are neither message, runtime options that can't be decoded, and a relative
    ///   `socket_dir`.
    package init(_ bytes: [UInt8], flags: ShimFlags) throws(UsageError) {
        debug = flags.debug
        guard !bytes.isEmpty else { return }
        // Both messages begin with a string, so either decodes as the other: the ids tell which one it is.
        if let given = try? Containerd_Runtime_Bootstrap_V1_BootstrapParams(serializedBytes: bytes),
            given.instanceID == flags.id, given.namespace == flags.namespace
        {
            answersBootstrap = true
            debug = debug || given.logLevel < 0
            if !given.socketDir.isEmpty {
                guard given.socketDir.hasPrefix("/") else {
                    throw UsageError("socket_dir \"\(given.socketDir)\" is not an absolute path")
                }
                socketDirectory = given.socketDir
            }
            for option in given.extensions.map(\.value) { try take(option) }
        } else if let option = try? Google_Protobuf_Any(serializedBytes: bytes) {
            try take(option)
        } else {
            throw UsageError("standard input holds neither runtime options nor bootstrap parameters")
        }
    }

    private mutating func take(_ option: Google_Protobuf_Any) throws(UsageError) {
        guard let path = try RuntimeOptions.configurationPath(option) else { return }
        configurationPath = path
    }

    /// Reads standard input to its end, or until nothing comes for `seconds`.
    static func readInput(seconds: Int = Deadline.shimInput.seconds) -> [UInt8] {
        var bytes: [UInt8] = []
        guard isatty(0) == 0 else { return [] }
        while bytes.count <= lengthLimit {
            guard isReady(0, within: .seconds(seconds)) else { break }
            // SAFETY: read(2) uses the buffer within its count.
            let chunk = unsafe readBytes(upTo: 65536) { unsafe read(0, $0.baseAddress, $0.count) }.bytes
            guard !chunk.isEmpty else { break }
            bytes += chunk
        }
        return bytes
    }

    /// The address that containerd keeps in a bundle from what `start` has answered for its sandbox; nil for none.
    static func keptAddress(in bundle: String) -> String? {
        struct Kept: Decodable { let address: String }
        guard let bytes = try? Files.read(bundle + "/bootstrap.json") else { return nil }
        return (try? JSONDecoder().decode(Kept.self, from: Data(bytes)))?.address
    }

    /// The output of `start` for a shim that serves at `path`.
    package func answer(path: String) -> [UInt8] {
        let address = SocketAddress.address(ofPath: path)
        guard answersBootstrap else { return Array(address.utf8) }
        var result = Containerd_Runtime_Bootstrap_V1_BootstrapResult()
        result.version = 3
        result.address = address
        result.protocol = "ttrpc"
        return (try? result.serializedBytes()) ?? Array(address.utf8)
    }
}

/// The runtime options of a manager's configuration.
enum RuntimeOptions {
    /// `ConfigPath` of containerd's message or of the older CRI's. Other messages, such as runc's options, are ignored.
    static func configurationPath(_ options: Google_Protobuf_Any) throws(UsageError) -> String? {
        guard options.typeURL.hasSuffix("runtimeoptions.v1.Options") else { return nil }
        guard let decoded = try? Runtimeoptions_V1_Options(serializedBytes: Array(options.value)) else {
            throw UsageError("the runtime options are no \(options.typeURL)")
        }
        return decoded.configPath.isEmpty ? nil : decoded.configPath
    }
}
