import EventLoop
import FoundationEssentials
import NIOCore
import NIOPosix
import Synchronization

/// QEMU's monitor (docs/interop/qmp-spec.rst): commands in order, events between them.
package final class QMPClient: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<Handler>

    private init(_ channel: any Channel, _ handler: NIOLoopBound<Handler>) {
        self.channel = channel
        self.handler = handler
    }

    /// - Parameters:
    ///   - socket: connected to the monitor; taken.
    ///   - events: called on the loop with each event's name.
    package static func connect(socket: Int32, on loop: any EventLoop, events: @escaping @Sendable (String) -> Void)
        async throws
        -> QMPClient
    {
        let handler = try await loop.submit { NIOLoopBound(Handler(events), eventLoop: loop) }.get()
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([ByteToMessageHandler(Lines()), handler.value])
                }
            }
            .withConnectedSocket(socket).get()
        let client = QMPClient(channel, handler)
        try await client.execute("qmp_capabilities")
        return client
    }

    /// Runs a command that has no result.
    /// - Parameter arguments: a JSON object.
    package func execute(_ command: String, _ arguments: String = "{}", timeout: Duration = .seconds(5)) async throws {
        let loop = channel.eventLoop
        let promise = loop.makePromise(of: Void.self)
        let line = #"{"execute":"\#(command)","arguments":\#(arguments)}"# + "\n"
        loop.execute { [channel, handler] in
            guard channel.isActive else { return promise.fail(QMPError("\(command): the monitor is closed")) }
            handler.value.waiting.append(promise)
            channel.writeAndFlush(ByteBuffer(string: line), promise: nil)
        }
        let timer = loop.scheduleTask(in: TimeAmount(timeout)) {
            promise.fail(QMPError("\(command): no answer within \(timeout)"))
        }
        defer { timer.cancel() }
        try await promise.futureResult.get()
    }

    package func close() { channel.close(promise: nil) }

    private struct Reply: Decodable {
        struct Failure: Decodable { let desc: String }
        let error: Failure?
        let event: String?
        let greeting: Greeting?
        struct Greeting: Decodable {}

        enum CodingKeys: String, CodingKey {
            case error, event
            case greeting = "QMP"
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var waiting: [EventLoopPromise<Void>] = []
        let events: @Sendable (String) -> Void

        init(_ events: @escaping @Sendable (String) -> Void) { self.events = events }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            guard let reply = try? JSONDecoder().decode(Reply.self, from: Data(bytes)) else { return }
            if let event = reply.event { return events(event) }
            if reply.greeting != nil { return }
            guard !waiting.isEmpty else { return }
            let promise = waiting.removeFirst()
            if let error = reply.error { promise.fail(QMPError(error.desc)) } else { promise.succeed() }
        }

        func channelInactive(context: ChannelHandlerContext) {
            for promise in waiting { promise.fail(QMPError("the monitor was closed")) }
            waiting = []
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private struct Lines: ByteToMessageDecoder {
        typealias InboundOut = ByteBuffer

        mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
            guard let end = buffer.readableBytesView.firstIndex(of: 10) else {
                if buffer.readableBytes > 1 << 20 { throw QMPError("the monitor wrote a line of more than 1 MiB") }
                return .needMoreData
            }
            let line = buffer.readSlice(length: end - buffer.readerIndex)!
            buffer.moveReaderIndex(forwardBy: 1)
            context.fireChannelRead(wrapInboundOut(line))
            return .continue
        }
    }
}

package struct QMPError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
