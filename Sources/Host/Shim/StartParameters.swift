import Glibc
import LinuxKernel
import ShimAPI
import SwiftProtobuf

/// What a manager hands to `start` on standard input: nothing (containerd up to 1.6), the runtime options (from 1.6 on), or its
/// bootstrap parameters (from 2.3 on).
package struct StartParameters: Equatable, Sendable {
    package static let lengthLimit = 10 << 20

    /// `ConfigPath` of the runtime options; empty when there is none.
    package var configurationPath = ""
    /// Where sockets of shims belong.
    package var socketDirectory = SocketAddress.directory
    package var debug = false
    /// The manager reads a protobuf answer; any other reads the plain address.
    package var answersBootstrap = false

    /// - Parameter bytes: all of standard input.
    package init(_ bytes: [UInt8], flags: ShimFlags) throws(UsageError) {
        debug = flags.debug
        guard !bytes.isEmpty else { return }
        // Both messages begin with a text and may be read as each other: the identity tells them apart.
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

    /// Reads standard input to its end. A manager closes it at once; one that doesn't has nothing to say.
    static func readInput(seconds: Int = Deadline.shimInput.seconds) -> [UInt8] {
        var bytes: [UInt8] = []
        guard isatty(0) == 0 else { return [] }
        while bytes.count <= lengthLimit {
            var ready = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, Int32(seconds * 1000)) > 0 else { break }
            let chunk = readBytes(upTo: 65536) { read(0, $0.baseAddress, $0.count) }.bytes
            guard !chunk.isEmpty else { break }
            bytes += chunk
        }
        return bytes
    }

    /// What `start` prints for a shim that serves at `path`.
    package func answer(path: String) -> [UInt8] {
        let address = "unix://" + path
        guard answersBootstrap else { return Array(address.utf8) }
        var result = Containerd_Runtime_Bootstrap_V1_BootstrapResult()
        result.version = 3
        result.address = address
        result.protocol = "ttrpc"
        return (try? result.serializedBytes()) ?? Array(address.utf8)
    }
}

/// The options of a runtime in a manager's configuration.
enum RuntimeOptions {
    /// `ConfigPath`, by either of the message's names (containerd's and the older CRI's); nil in runc's options, which say
    /// nothing that concerns a VM.
    static func configurationPath(_ options: Google_Protobuf_Any) throws(UsageError) -> String? {
        guard options.typeURL.hasSuffix("runtimeoptions.v1.Options") else { return nil }
        guard let decoded = try? Runtimeoptions_V1_Options(serializedBytes: Array(options.value)) else {
            throw UsageError("the runtime options are no \(options.typeURL)")
        }
        return decoded.configPath.isEmpty ? nil : decoded.configPath
    }
}
