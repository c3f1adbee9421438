/// Datagrams in a stream, each after its length in two bytes of network order, as in DNS over TCP (RFC 1035, 4.2.2).
package struct DatagramFrames: Sendable {
    private var bytes: [UInt8] = []

    package init() {}

    /// A datagram with its length in front.
    package static func frame(_ datagram: [UInt8]) -> [UInt8] {
        precondition(datagram.count <= Int(UInt16.max))
        return [UInt8(datagram.count >> 8), UInt8(datagram.count & 0xff)] + datagram
    }

    /// Takes bytes from the stream. Keeps an incomplete datagram, at most 64 KiB.
    /// - Returns: the complete datagrams, in order.
    package mutating func receive(_ more: some Sequence<UInt8>) -> [[UInt8]] {
        bytes += more
        var whole: [[UInt8]] = []
        var start = 0
        while bytes.count - start >= 2 {
            let length = Int(bytes[start]) << 8 | Int(bytes[start + 1])
            guard bytes.count - start - 2 >= length else { break }
            whole.append(Array(bytes[(start + 2)..<(start + 2 + length)]))
            start += 2 + length
        }
        bytes.removeFirst(start)
        return whole
    }
}
