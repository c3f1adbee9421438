import NIOCore

/// One ttrpc frame: length u32, stream u32 (both big-endian), type u8, flags u8, then the data (ttrpc PROTOCOL.md).
package struct Frame: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case request = 1
        case response = 2
        case data = 3
    }

    package static let headerLength = 10
    /// The longest data that a peer may send, in bytes.
    package static let maximumLength = 4 << 20

    package var stream: UInt32
    package var kind: UInt8
    package var flags: UInt8
    package var data: [UInt8]

    package init(stream: UInt32, kind: Kind, flags: UInt8 = 0, data: [UInt8]) {
        self.stream = stream
        self.kind = kind.rawValue
        self.flags = flags
        self.data = data
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(data.count))
        buffer.writeInteger(stream)
        buffer.writeInteger(kind)
        buffer.writeInteger(flags)
        buffer.writeBytes(data)
    }
}

/// A result of the decoder: a frame, or the header of one whose data is too long and is skipped.
enum Inbound: Sendable {
    case frame(Frame)
    case oversize(stream: UInt32, kind: UInt8, length: UInt32)
}

/// Cuts a byte stream into frames. Any bytes give frames, oversize reports, or a wait for more.
struct FrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = Inbound

    /// The longest data of a frame, by its stream and type; `Frame.maximumLength` bounds it in any case.
    private let limit: (_ stream: UInt32, _ kind: UInt8) -> Int
    private var discarding = 0

    init(limit: @escaping (_ stream: UInt32, _ kind: UInt8) -> Int = { _, _ in Frame.maximumLength }) {
        self.limit = limit
    }

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let inbound = next(&buffer) else { return .needMoreData }
        context.fireChannelRead(wrapInboundOut(inbound))
        return .continue
    }

    mutating func decodeLast(context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool) throws
        -> DecodingState
    {
        try decode(context: context, buffer: &buffer)
    }

    mutating func next(_ buffer: inout ByteBuffer) -> Inbound? {
        if discarding > 0 {
            let count = min(discarding, buffer.readableBytes)
            buffer.moveReaderIndex(forwardBy: count)
            discarding -= count
            if discarding > 0 { return nil }
        }
        let start = buffer.readerIndex
        guard buffer.readableBytes >= Frame.headerLength,
            let length = buffer.getInteger(at: start, as: UInt32.self),
            let stream = buffer.getInteger(at: start + 4, as: UInt32.self),
            let kind = buffer.getInteger(at: start + 8, as: UInt8.self),
            let flags = buffer.getInteger(at: start + 9, as: UInt8.self)
        else { return nil }
        if length > min(limit(stream, kind), Frame.maximumLength) {
            buffer.moveReaderIndex(forwardBy: Frame.headerLength)
            discarding = Int(length)
            return .oversize(stream: stream, kind: kind, length: length)
        }
        guard buffer.readableBytes >= Frame.headerLength + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: Frame.headerLength)
        let data = buffer.readBytes(length: Int(length)) ?? []
        var frame = Frame(stream: stream, kind: .data, flags: flags, data: data)
        frame.kind = kind
        return .frame(frame)
    }
}
