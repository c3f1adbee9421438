import Glibc

/// An IPv4 or IPv6 address.
package struct InternetAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four bytes, or sixteen, in network order.
    package let bytes: [UInt8]

    package var isIPv6: Bool { bytes.count == 16 }
    /// AF_INET or AF_INET6.
    package var family: UInt8 { UInt8(isIPv6 ? AF_INET6 : AF_INET) }

    package init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// - Parameter text: as inet_pton(3) reads it.
    package init?(_ text: String) {
        var buffer = [UInt8](repeating: 0, count: 16)
        // SAFETY: the longer address has 16 bytes (inet_pton(3)).
        if unsafe inet_pton(AF_INET, text, &buffer) == 1 {
            bytes = Array(buffer.prefix(4))
        } else if unsafe inet_pton(AF_INET6, text, &buffer) == 1 {
            bytes = buffer
        } else {
            return nil
        }
    }

    package var description: String {
        var buffer = [CChar](repeating: 0, count: 64)
        // SAFETY: inet_ntop(3) reads as many bytes as the family has, and writes at most `count`.
        guard unsafe inet_ntop(Int32(family), bytes, &buffer, socklen_t(buffer.count)) != nil else { return "?" }
        // SAFETY: inet_ntop(3) has ended the text with NUL.
        return unsafe buffer.withUnsafeBufferPointer { unsafe String(cString: $0.baseAddress!) }
    }
}

/// An address and how many of its bits name the network: `10.1.0.0/16`.
package struct Prefix: Hashable, Sendable, CustomStringConvertible {
    package let address: InternetAddress
    package let length: UInt8

    package init?(_ address: InternetAddress, length: Int) {
        guard (0...address.bytes.count * 8).contains(length) else { return nil }
        self.address = address
        self.length = UInt8(length)
    }

    /// Without a length, a text names one address.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = InternetAddress(String(parts[0])) else { return nil }
        guard let length = parts.count == 2 ? Int(parts[1]) : address.bytes.count * 8 else { return nil }
        self.init(address, length: length)
    }

    package var description: String { "\(address)/\(length)" }

    /// The prefix without the bits behind its length.
    package var network: Prefix {
        var bytes = address.bytes
        for index in bytes.indices {
            let kept = min(8, max(0, Int(length) - 8 * index))
            bytes[index] &= ~UInt8(0xff >> kept)
        }
        return InternetAddress(bytes: bytes).flatMap { Prefix($0, length: Int(length)) } ?? self
    }
}

/// A hardware address: `02:42:ac:11:00:02`.
package struct HardwareAddress: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// The length of an Ethernet address.
    package static let ethernetLength = 6

    package init(bytes: [UInt8]) { self.bytes = bytes }

    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.count == 2 ? UInt8($0, radix: 16) : nil }
        guard bytes.count == parts.count, bytes.count == Self.ethernetLength else { return nil }
        self.bytes = bytes
    }

    package var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
