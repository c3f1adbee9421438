/// Writes a netlink message: fields in this machine's byte order, attributes padded to four bytes (netlink(7)).
struct MessageWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        // SAFETY: a number has no padding; its bytes are copied at once.
        unsafe withUnsafeBytes(of: number) { unsafe bytes.append(contentsOf: $0) }
    }

    mutating func attribute(_ type: UInt16, _ content: [UInt8]) {
        put(UInt16(clamping: 4 + content.count))
        put(type)
        bytes += content
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    mutating func attribute(_ type: UInt16, _ number: UInt32) {
        // SAFETY: a number has no padding; its bytes are copied at once.
        unsafe attribute(type, withUnsafeBytes(of: number) { unsafe Array($0) })
    }

    /// Appends a string with its NUL.
    mutating func attribute(_ type: UInt16, _ text: String) { attribute(type, Array(text.utf8) + [0]) }

    /// Appends an attribute that holds attributes.
    mutating func nested(_ type: UInt16, _ body: (inout MessageWriter) -> Void) {
        var inner = MessageWriter()
        body(&inner)
        attribute(type | AttributeType.nested, inner.bytes)
    }

    mutating func append(_ other: MessageWriter) { bytes += other.bytes }
}

/// One message of a datagram: nlmsghdr and what follows it.
package struct NetlinkMessage: Equatable, Sendable {
    package var type: UInt16
    package var flags: UInt16
    package var sequence: UInt32
    package var payload: [UInt8]

    /// Size of nlmsghdr.
    static let headerSize = 16

    /// Splits a datagram into its messages. An impossible length ends the list; the messages before it are sound.
    package static func parse(_ datagram: [UInt8]) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = datagram[...]
        while rest.count >= headerSize {
            let length = Int(rest.number(at: 0, as: UInt32.self))
            guard length >= headerSize, length <= rest.count else { break }
            messages.append(
                NetlinkMessage(
                    type: rest.number(at: 4, as: UInt16.self), flags: rest.number(at: 6, as: UInt16.self),
                    sequence: rest.number(at: 8, as: UInt32.self),
                    payload: Array(rest.dropFirst(headerSize).prefix(length - headerSize))))
            rest = rest.dropFirst(aligned(length))
        }
        return messages
    }

    /// A message with its header, for the kernel.
    static func request(_ type: UInt16, flags: UInt16, sequence: UInt32, _ payload: [UInt8]) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(UInt32(headerSize + payload.count))
        writer.put(type)
        writer.put(flags | MessageFlags.request)
        writer.put(sequence)
        writer.put(UInt32(0))
        return writer.bytes + payload
    }

    /// The error of a failed request, or errno 0 for an acknowledgement (`nlmsgerr`), with the kernel's explanation or
    /// "". The end of a list has an errno too (af_netlink.c, netlink_dump_done).
    var failure: (errno: Int32, words: String)? {
        guard type == MessageType.error || type == MessageType.done, payload.count >= 4 else { return nil }
        let code = -payload[...].number(at: 0, as: Int32.self)
        guard type == MessageType.error else { return (code, "") }
        // The answer repeats the request's header, its body unless NLM_F_CAPPED is set, then has attributes.
        guard flags & MessageFlags.hasAttributes != 0, payload.count >= 4 + Self.headerSize else { return (code, "") }
        let echoed =
            flags & MessageFlags.capped != 0
            ? Self.headerSize : max(Self.headerSize, Int(payload[...].number(at: 4, as: UInt32.self)))
        guard 4 + echoed <= payload.count else { return (code, "") }
        let attributes = Attributes(payload[(4 + echoed)...])
        return (code, attributes.text(AttributeType.explanation) ?? "")
    }
}

/// The attributes of a message by type; a later one replaces an earlier one.
struct Attributes {
    /// A list: messages have few attributes, and dumps have many messages.
    private var values: [(type: UInt16, content: ArraySlice<UInt8>)] = []
    private static let usualCount = 8

    init(_ bytes: ArraySlice<UInt8>) {
        values.reserveCapacity(Self.usualCount)
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { return }
            let type = rest.number(at: 2, as: UInt16.self) & AttributeType.mask
            values.append((type, rest.dropFirst(4).prefix(length - 4)))
            rest = rest.dropFirst(aligned(length))
        }
    }

    private func slice(_ type: UInt16) -> ArraySlice<UInt8>? { values.last { $0.type == type }?.content }

    func bytes(_ type: UInt16) -> [UInt8]? { slice(type).map(Array.init) }

    func number(_ type: UInt16) -> UInt32? {
        slice(type).flatMap { $0.count >= 4 ? $0.number(at: 0, as: UInt32.self) : nil }
    }

    func text(_ type: UInt16) -> String? {
        slice(type).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    func nested(_ type: UInt16) -> Attributes? { slice(type).map(Attributes.init) }

    var all: [UInt16: [UInt8]] {
        [UInt16: [UInt8]](values.map { ($0.type, Array($0.content)) }) { _, later in later }
    }
}

extension ArraySlice<UInt8> {
    /// Reads a number in this machine's byte order. The caller has checked that the slice is long enough.
    func number<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type) -> Number {
        // SAFETY: the caller has checked the length; any bytes are a number.
        unsafe dropFirst(offset).prefix(MemoryLayout<Number>.size).withUnsafeBytes {
            unsafe $0.loadUnaligned(as: Number.self)
        }
    }
}

/// A length with its padding (NLMSG_ALIGN and NLA_ALIGN: four bytes).
func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
