import EventLoop
import Linux
import NIOCore
import NIOPosix
import SwiftProtobuf

/// Makes ttrpc calls over one connection, many at a time.
package final class RPCClient: Sendable {
    private let channel: any Channel
    private let calls: NIOLoopBound<ClientConnection>

    private init(channel: any Channel, calls: NIOLoopBound<ClientConnection>) {
        self.channel = channel
        self.calls = calls
    }

    /// Over a connected stream socket, which it takes.
    package static func connect(socket: Int32, on loop: any EventLoop) async throws -> RPCClient {
        let calls = try await loop.submit { NIOLoopBound(ClientConnection(), eventLoop: loop) }.get()
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([ByteToMessageHandler(FrameDecoder()), calls.value])
                }
            }
            .withConnectedSocket(socket).get()
        return RPCClient(channel: channel, calls: calls)
    }

    package static func connect(unixPath: String, on loop: any EventLoop) async throws -> RPCClient {
        try await connect(socket: try UnixSocket.connect(unixPath).take(), on: loop)
    }

    /// Calls a method and waits for its reply.
    /// - Parameter timeout: sent along and kept on this side too; nil waits until the connection ends.
    /// - Throws: `RPCError`, with `unavailable` when the connection ends first.
    package func call<Request: Message, Reply: Message>(
        _ service: String, _ method: String, _ request: Request, timeout: Duration?, metadata: [String: [String]] = [:]
    ) async throws -> Reply {
        let payload = try await call(
            service, method, payload: try request.serializedBytes(), timeout: timeout, metadata: metadata)
        do { return try Reply(serializedBytes: payload) } catch {
            throw RPCError(.internal, "\(service)/\(method): the reply is not a \(Reply.protoMessageName)")
        }
    }

    /// As above, for a caller that passes messages on unread.
    package func call(
        _ service: String, _ method: String, payload: [UInt8], timeout: Duration?, metadata: [String: [String]] = [:]
    ) async throws -> [UInt8] {
        var envelope = Ttrpc_Request()
        envelope.service = service
        envelope.method = method
        envelope.payload = .init(payload)
        if let timeout { envelope.timeoutNano = TimeAmount(timeout).nanoseconds }
        envelope.metadata = metadata.flatMap { key, values in
            values.map { value in
                var pair = Ttrpc_KeyValue()
                pair.key = key
                pair.value = value
                return pair
            }
        }
        let data: [UInt8] = try envelope.serializedBytes()
        guard data.count <= Frame.maximumLength else {
            throw RPCError(.resourceExhausted, "request of \(data.count) bytes is longer than \(Frame.maximumLength)")
        }
        let promise = channel.eventLoop.makePromise(of: [UInt8].self)
        let once = Once(promise)
        channel.eventLoop.execute { [calls, channel] in calls.value.send(data, once, on: channel) }
        let timer = timeout.map { limit in
            channel.eventLoop.scheduleTask(in: TimeAmount(limit)) {
                once.complete(.failure(RPCError(.deadlineExceeded, "\(service)/\(method): no answer within \(limit)")))
            }
        }
        defer { timer?.cancel() }
        do { return try await promise.futureResult.get() } catch {
            // An answer that comes too late finds nobody; one that never comes leaves nothing behind.
            channel.eventLoop.execute { [calls] in calls.value.forget(once) }
            throw error
        }
    }

    /// How many calls have no answer yet.
    var waitingCalls: Int {
        get async throws { try await channel.eventLoop.submit { [calls] in calls.value.count }.get() }
    }

    /// Completes when the connection has ended, whoever ended it.
    package var closed: EventLoopFuture<Void> { channel.closeFuture }

    package func close() async { try? await channel.close().get() }
}

/// The client's end of a connection: which call waits on which stream.
private final class ClientConnection: ChannelInboundHandler {
    typealias InboundIn = Inbound
    typealias OutboundOut = ByteBuffer

    private var waiting: [UInt32: Once<[UInt8]>] = [:]
    // Streams of a client are odd and rise (ttrpc PROTOCOL.md).
    private var nextStream: UInt32 = 1
    private var ended = false

    func send(_ data: [UInt8], _ once: Once<[UInt8]>, on channel: any Channel) {
        guard !ended, channel.isActive else { return once.complete(.failure(Self.closedError)) }
        let stream = nextStream
        nextStream &+= 2
        waiting[stream] = once
        var buffer = channel.allocator.buffer(capacity: Frame.headerLength + data.count)
        Frame(stream: stream, kind: .request, data: data).write(to: &buffer)
        channel.writeAndFlush(buffer, promise: nil)
    }

    var count: Int { waiting.count }

    func forget(_ once: Once<[UInt8]>) {
        if let stream = waiting.first(where: { $0.value === once })?.key { waiting[stream] = nil }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .oversize(let stream, _, let length):
            let error = RPCError(.resourceExhausted, "reply of \(length) bytes is longer than \(Frame.maximumLength)")
            waiting.removeValue(forKey: stream)?.complete(.failure(error))
        case .frame(let frame):
            guard frame.kind == Frame.Kind.response.rawValue, let once = waiting.removeValue(forKey: frame.stream)
            else { return }
            guard let response = try? Ttrpc_Response(serializedBytes: frame.data) else {
                return once.complete(.failure(RPCError(.internal, "not a ttrpc response")))
            }
            if response.hasStatus, response.status.code != 0 {
                let code = RPCError.Code(rawValue: response.status.code) ?? .unknown
                once.complete(.failure(RPCError(code, response.status.message)))
            } else {
                once.complete(.success(Array(response.payload)))
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended = true
        for once in waiting.values { once.complete(.failure(Self.closedError)) }
        waiting = [:]
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private static var closedError: RPCError { RPCError(.unavailable, "connection closed") }
}
