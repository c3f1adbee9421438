/// Names for guests whose resolver lives in the network namespace of the sandbox, on the host.
///
/// Docker's embedded resolver answers at 127.0.0.11 of that namespace alone. The agent listens at the same address of the
/// guest, and opens a stream to one of these vsock ports of the host for each client.
package enum NameRelay {
    package static let address = "127.0.0.11"
    package static let port: UInt16 = 53
    /// Datagrams, each behind its length (DatagramFrames).
    package static let datagrams: UInt32 = 1029
    /// A TCP connection's bytes as they are.
    package static let connections: UInt32 = 1030

    /// Whether a resolv.conf(5) asks that resolver.
    package static func isNeeded(by configuration: String) -> Bool {
        configuration.split(separator: "\n").contains { line in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count >= 2 && words[0] == "nameserver" && words[1] == address
        }
    }
}
