/// Bytes of a netlink message being written: fields in this machine's order, attributes padded to four bytes (netlink(7)).
struct MessageWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    mutating func attribute(_ type: UInt16, _ content: [UInt8]) {
        put(UInt16(4 + content.count))
        put(type)
        bytes += content
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    mutating func attribute(_ type: UInt16, _ number: UInt32) {
        attribute(type, withUnsafeBytes(of: number) { Array($0) })
    }

    /// A text with its NUL.
    mutating func attribute(_ type: UInt16, _ text: String) { attribute(type, Array(text.utf8) + [0]) }

    /// Attributes in an attribute.
    mutating func nested(_ type: UInt16, _ body: (inout MessageWriter) -> Void) {
        var inner = MessageWriter()
        body(&inner)
        attribute(type | 0x8000, inner.bytes)
    }
}

/// One message of a datagram: nlmsghdr and what follows it.
package struct NetlinkMessage: Equatable, Sendable {
    package var type: UInt16
    package var flags: UInt16
    package var sequence: UInt32
    package var payload: [UInt8]

    static let error: UInt16 = 2
    static let done: UInt16 = 3

    /// The messages of a datagram. A length that can't be ends the list: what came before it is sound.
    package static func parse(_ datagram: [UInt8]) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = datagram[...]
        while rest.count >= 16 {
            let length = Int(rest.number(at: 0, as: UInt32.self))
            guard length >= 16, length <= rest.count else { break }
            messages.append(
                NetlinkMessage(
                    type: rest.number(at: 4, as: UInt16.self), flags: rest.number(at: 6, as: UInt16.self),
                    sequence: rest.number(at: 8, as: UInt32.self),
                    payload: Array(rest.dropFirst(16).prefix(length - 16))))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return messages
    }

    /// A message with its header, for the kernel.
    static func request(_ type: UInt16, flags: UInt16, sequence: UInt32, _ payload: [UInt8]) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(UInt32(16 + payload.count))
        writer.put(type)
        writer.put(flags | 1)
        writer.put(sequence)
        writer.put(UInt32(0))
        return writer.bytes + payload
    }

    /// The answer to a request that failed, or was done (errno 0): `nlmsgerr`, with the kernel's words where it has some.
    var failure: (errno: Int32, words: String)? {
        guard type == Self.error, payload.count >= 4 else { return nil }
        let code = -payload[...].number(at: 0, as: Int32.self)
        // The header of the request comes back, its body too unless it was cut (NLM_F_CAPPED), then attributes (NLM_F_ACK_TLVS).
        guard flags & 0x200 != 0, payload.count >= 20 else { return (code, "") }
        let echoed = flags & 0x100 != 0 ? 16 : max(16, Int(payload[...].number(at: 4, as: UInt32.self)))
        guard 4 + echoed <= payload.count else { return (code, "") }
        let attributes = Attributes(payload[(4 + echoed)...])
        return (code, attributes.text(1) ?? "")
    }
}

/// The attributes of a message by type; a later one wins.
struct Attributes {
    private var values: [UInt16: ArraySlice<UInt8>] = [:]

    init(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { return }
            values[rest.number(at: 2, as: UInt16.self) & 0x3fff] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
    }

    func bytes(_ type: UInt16) -> [UInt8]? { values[type].map(Array.init) }

    func number(_ type: UInt16) -> UInt32? {
        values[type].flatMap { $0.count >= 4 ? $0.number(at: 0, as: UInt32.self) : nil }
    }

    func text(_ type: UInt16) -> String? {
        values[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    func nested(_ type: UInt16) -> Attributes? { values[type].map(Attributes.init) }
}

extension ArraySlice<UInt8> {
    /// A number in this machine's order; the caller has looked that it is there.
    func number<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type) -> Number {
        dropFirst(offset).prefix(MemoryLayout<Number>.size).withUnsafeBytes { $0.loadUnaligned(as: Number.self) }
    }
}
