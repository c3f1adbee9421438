import LinuxKernel
import NIOCore

/// The client's end of a connection: the calls that wait, by stream. It belongs to the connection's event loop.
final class ClientConnection: ChannelInboundHandler {
    typealias InboundIn = Inbound
    typealias OutboundOut = ByteBuffer

    struct Call {
        /// Service and method, for errors.
        let name: String
        let method: String
        /// The encoded request.
        let data: [UInt8]
        let once: OneShotPromise<[UInt8]>
    }

    private let limits: ReplyLimits
    private var waiting: [UInt32: Call] = [:]
    /// Calls with a large reply that wait for others of them to end.
    private var queued: [Call] = []
    private var largeCalls = 0
    // Streams of a client are odd and rise (ttrpc PROTOCOL.md).
    private var nextStream: UInt32 = 1
    private var ended = false

    init(_ limits: ReplyLimits) { self.limits = limits }

    /// The longest data that a frame may have; 0 for a reply to no call.
    func longestData(of stream: UInt32, _ kind: UInt8) -> Int {
        guard kind == Frame.Kind.response.rawValue, let call = waiting[stream] else { return 0 }
        return limits.reply(call.method) + Self.envelope
    }

    /// Bytes of a response around its payload.
    private static let envelope = 64

    private func isLarge(_ call: Call) -> Bool { limits.reply(call.method) > limits.ordinary }

    func send(_ call: Call, on channel: any Channel) {
        guard !ended, channel.isActive else { return call.once.complete(.failure(Self.closedError)) }
        if isLarge(call) {
            guard largeCalls < limits.largeCalls else {
                limits.reached(.largeCalls, call.name)
                return queued.append(call)
            }
            largeCalls += 1
        }
        let stream = nextStream
        nextStream &+= 2
        waiting[stream] = call
        var buffer = channel.allocator.buffer(capacity: Frame.headerLength + call.data.count)
        Frame(stream: stream, kind: .request, data: call.data).write(to: &buffer)
        channel.writeAndFlush(buffer, promise: nil)
    }

    var count: Int { waiting.count + queued.count }

    func forget(_ once: OneShotPromise<[UInt8]>, on channel: any Channel) {
        queued.removeAll { $0.once === once }
        if let stream = waiting.first(where: { $0.value.once === once })?.key { _ = take(stream, channel) }
    }

    /// Ends the wait of the call on a stream, and sends the next one of the queue.
    private func take(_ stream: UInt32, _ channel: any Channel) -> Call? {
        guard let call = waiting.removeValue(forKey: stream) else { return nil }
        if isLarge(call) {
            largeCalls -= 1
            if !queued.isEmpty { send(queued.removeFirst(), on: channel) }
        }
        return call
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .oversize(let stream, _, let length):
            guard let call = take(stream, context.channel) else { return }
            limits.reached(.reply, call.name)
            let most = min(limits.reply(call.method), Frame.maximumLength)
            call.once.complete(
                .failure(
                    RPCError(.resourceExhausted, "\(call.name): reply of \(length) bytes is longer than \(most)")))
        case .frame(let frame):
            guard frame.kind == Frame.Kind.response.rawValue, let call = take(frame.stream, context.channel) else {
                return
            }
            call.once.complete(result(of: frame.data, call))
        }
    }

    private func result(of data: [UInt8], _ call: Call) -> Result<[UInt8], any Error> {
        guard let response = try? Ttrpc_Response(serializedBytes: data) else {
            return .failure(RPCError(.internal, "\(call.name): not a ttrpc response"))
        }
        guard response.hasStatus, response.status.code != 0 else { return .success(Array(response.payload)) }
        let code = RPCError.Code(rawValue: response.status.code) ?? .unknown
        if response.status.message.utf8.count > limits.errorText { limits.reached(.errorText, call.name) }
        return .failure(RPCError(code, response.status.message.printable(limit: limits.errorText)))
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended = true
        for call in Array(waiting.values) + queued { call.once.complete(.failure(Self.closedError)) }
        (waiting, queued) = ([:], [])
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private static var closedError: RPCError { RPCError(.unavailable, "connection closed") }
}
