import CLinux
import EventLoop
import FoundationEssentials
import Hypervisor
import LinuxKernel
import NIOCore
import NIOPosix
import Synchronization

/// A connection to QEMU's monitor (docs/interop/qmp-spec.rst): commands in order, events between them.
final class Monitor: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<Handler>
    /// The channel's socket, for descriptors sent with commands.
    private let socket: Int32

    private init(_ channel: any Channel, _ handler: NIOLoopBound<Handler>, _ socket: Int32) {
        self.channel = channel
        self.handler = handler
        self.socket = socket
    }

    /// An event that QEMU reports.
    struct Event: Sendable, Equatable {
        let name: String
        /// The device of the event, for some events.
        let device: String?
        /// The status of a migration, for its events.
        let status: String?
    }

    /// - Parameters:
    ///   - socket: connected to the monitor; taken.
    ///   - events: called on the loop with each event.
    static func connect(socket: Int32, on loop: any EventLoop, events: @escaping @Sendable (Event) -> Void)
        async throws
        -> Monitor
    {
        let handler = try await loop.submit { NIOLoopBound(Handler(events), eventLoop: loop) }.get()
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([ByteToMessageHandler(Lines()), handler.value])
                }
            }
            .withConnectedSocket(socket).get()
        let client = Monitor(channel, handler, socket)
        // A busy host may start QEMU slowly; QEMU's end ends the wait.
        try await client.execute(QMP.Capabilities(), timeout: Deadline.monitor.limit)
        return client
    }

    /// Runs a command.
    /// - Parameter descriptor: sent with the command, for `GetFD` and `AddFD`.
    /// - Throws: `VMError` with QEMU's own text when it refuses, no answer comes in time, or the monitor is closed.
    func execute<Command: QMP.Command>(
        _ command: Command, descriptor: Int32? = nil, timeout: Duration = Deadline.command.limit
    ) async throws { _ = try await answer(command, descriptor: descriptor, timeout: timeout) }

    /// Runs a command and decodes its result.
    func query<Query: QMP.Query>(_ query: Query, timeout: Duration = Deadline.command.limit) async throws
        -> Query.Answer
    {
        let line = try await answer(query, descriptor: nil, timeout: timeout)
        do { return try JSONDecoder().decode(Answer<Query.Answer>.self, from: Data(line)).result } catch {
            throw VMError("\(Query.name): QEMU's answer has another form than expected")
        }
    }

    /// A command as it is on the wire.
    static func line<Command: QMP.Command>(_ command: Command) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let arguments = String(decoding: try encoder.encode(command), as: UTF8.self)
        return #"{"execute":"\#(Command.name)","arguments":\#(arguments)}"#
    }

    private struct Answer<Result: Decodable>: Decodable {
        let result: Result
        enum CodingKeys: String, CodingKey { case result = "return" }
    }

    /// The line that answers a command.
    private func answer<Command: QMP.Command>(_ wanted: Command, descriptor: Int32?, timeout: Duration) async throws
        -> [UInt8]
    {
        let (command, line) = (Command.name, try Self.line(wanted) + "\n")
        let loop = channel.eventLoop
        let promise = loop.makePromise(of: [UInt8].self)
        loop.execute { [channel, handler, socket] in
            guard channel.isActive else { return promise.fail(VMError("\(command): the monitor is closed")) }
            handler.value.waiting.append(promise)
            if let descriptor {
                // The channel has no pending write: each command waits for the answer to the one before.
                // SAFETY: the line and its one descriptor live until the call returns.
                let sent = unsafe clx_send_fds(socket, line, line.utf8.count, [descriptor], 1)
                if sent != line.utf8.count { channel.close(promise: nil) }
                return
            }
            channel.writeAndFlush(ByteBuffer(string: line), promise: nil)
        }
        let timer = loop.scheduleTask(in: TimeAmount(timeout)) {
            promise.fail(VMError("\(command): no answer within \(timeout)"))
        }
        defer { timer.cancel() }
        return try await promise.futureResult.get()
    }

    func close() { channel.close(promise: nil) }

    private struct Reply: Decodable {
        struct Failure: Decodable { let desc: String }
        let error: Failure?
        let event: String?
        let data: Details?
        struct Details: Decodable {
            let device: String?
            let status: String?
        }
        let greeting: Greeting?
        struct Greeting: Decodable {}

        enum CodingKeys: String, CodingKey {
            case error, event, data
            case greeting = "QMP"
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var waiting: [EventLoopPromise<[UInt8]>] = []
        let events: @Sendable (Event) -> Void

        init(_ events: @escaping @Sendable (Event) -> Void) { self.events = events }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            guard let reply = try? JSONDecoder().decode(Reply.self, from: Data(bytes)) else { return }
            if let event = reply.event {
                return events(Event(name: event, device: reply.data?.device, status: reply.data?.status))
            }
            if reply.greeting != nil { return }
            guard !waiting.isEmpty else { return }
            let promise = waiting.removeFirst()
            if let error = reply.error { promise.fail(VMError(error.desc)) } else { promise.succeed(bytes) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            for promise in waiting { promise.fail(VMError("the monitor was closed")) }
            waiting = []
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private struct Lines: ByteToMessageDecoder {
        typealias InboundOut = ByteBuffer

        mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
            guard let end = buffer.readableBytesView.firstIndex(of: 10) else {
                if buffer.readableBytes > 1 << 20 { throw VMError("the monitor wrote a line of more than 1 MiB") }
                return .needMoreData
            }
            let line = buffer.readSlice(length: end - buffer.readerIndex)!
            buffer.moveReaderIndex(forwardBy: 1)
            context.fireChannelRead(wrapInboundOut(line))
            return .continue
        }
    }
}
