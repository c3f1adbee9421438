/// DNS for guests whose resolver listens in the sandbox's network namespace on the host.
///
/// Docker's resolver answers at 127.0.0.11 of that namespace only. The agent listens at the same address of the guest.
/// For each client it opens a stream to one of these vsock ports of the host.
package enum NameRelay {
    package static let address = "127.0.0.11"
    package static let port: UInt16 = 53
    /// The port for datagrams; each follows its length (`DatagramFrames`).
    package static let datagrams: UInt32 = 1029
    /// The port for TCP connections, whose bytes are sent unchanged.
    package static let connections: UInt32 = 1030

    /// Whether a resolv.conf(5) names that resolver.
    package static func isNeeded(by configuration: String) -> Bool {
        configuration.split(separator: "\n").contains { line in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count >= 2 && words[0] == "nameserver" && words[1] == address
        }
    }
}
