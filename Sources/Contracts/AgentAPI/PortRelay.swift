/// Connections of the host to programs that listen in the guest.
///
/// Kubernetes' port-forward connects to the loopback addresses of the sandbox's network namespace on the host. The host
/// opens a stream to the agent for each client; the agent connects to the same port of the guest's loopback addresses.
package enum PortRelay {
    /// The vsock port of the agent.
    package static let port: UInt32 = 1031

    /// A stream begins with the TCP port, a big-endian number.
    package static let greetingLength = 2
    package static func greeting(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xff)] }
    /// - Returns: nil for bytes that are no greeting.
    package static func port(in greeting: [UInt8]) -> UInt16? {
        greeting.count == greetingLength ? UInt16(greeting[0]) << 8 | UInt16(greeting[1]) : nil
    }

    /// The agent's answer, one byte. After `connected` the bytes of the connection follow.
    package enum Answer: UInt8, Sendable {
        case refused = 0
        case connected = 1
    }
}
