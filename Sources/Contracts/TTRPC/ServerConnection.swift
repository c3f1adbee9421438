import EventLoop
import Glibc
import NIOCore

/// All connections of a server. It belongs to the server's event loop.
final class ServerConnections {
    private let max: Int
    private var all: [ObjectIdentifier: (connection: ServerConnection, channel: any Channel)] = [:]

    init(max: Int) { self.max = max }

    var channels: [any Channel] { all.values.map(\.channel) }

    func add(_ connection: ServerConnection, _ channel: any Channel) {
        all[ObjectIdentifier(connection)] = (connection, channel)
        guard all.count > max else { return }
        let idle = all.values.filter { $0.connection.calls == 0 && $0.connection !== connection }
        // Connections that never called come first, then the longest idle.
        let first = idle.min {
            ($0.connection.hasCalled ? 1 : 0, $0.connection.used) < (
                $1.connection.hasCalled ? 1 : 0, $1.connection.used
            )
        }
        (first?.channel ?? channel).close(promise: nil)
    }

    func remove(_ connection: ServerConnection) { all[ObjectIdentifier(connection)] = nil }
}

/// `struct ucred`, the value of SO_PEERCRED (unix(7)).
private struct PeerCredentials {
    let pid: Int32
    let user: UInt32
    let group: UInt32
}

/// One connection of a server.
final class ServerConnection: ChannelInboundHandler {
    typealias InboundIn = Inbound
    typealias OutboundOut = ByteBuffer

    private let services: [String: RPCService]
    private let connections: ServerConnections
    private let executor: LoopExecutor
    /// Calls under way.
    private(set) var calls = 0
    /// When the last call ended, or the connection began.
    private(set) var used = NIODeadline.now()
    private(set) var hasCalled = false
    /// Pid of the process that has connected.
    private var client: Int32?

    /// Bytes of a response around its payload.
    private static let envelope = 64

    init(services: [String: RPCService], connections: ServerConnections, executor: LoopExecutor) {
        self.services = services
        self.connections = connections
        self.executor = executor
    }

    func channelActive(context: ChannelHandlerContext) {
        connections.add(self, context.channel)
        noteClient(context.channel)
    }

    private func noteClient(_ channel: any Channel) {
        guard let options = channel as? any SocketOptionProvider else { return }
        // The structure has the layout of the option's, and nothing but numbers.
        let client: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(
            level: .socket, name: .init(rawValue: SO_PEERCRED))
        client.assumeIsolated().whenSuccess { if $0.pid > 0 { self.client = $0.pid } }
    }

    func channelInactive(context: ChannelHandlerContext) { connections.remove(self) }

    /// Stops reading from a client that doesn't take its answers.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        context.channel.setOption(.autoRead, value: context.channel.isWritable).whenFailure { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = context.channel
        switch unwrapInboundIn(data) {
        case .oversize(let stream, _, let length):
            let error = RPCError(.resourceExhausted, "message of \(length) bytes is longer than \(Frame.maximumLength)")
            answer(.failure(error), stream: stream, on: channel)
        case .frame(let frame):
            // This server knows unary calls only: other frames belong to no call.
            guard frame.kind == Frame.Kind.request.rawValue else { return }
            guard let request = try? Ttrpc_Request(serializedBytes: frame.data) else {
                return answer(
                    .failure(RPCError(.invalidArgument, "not a ttrpc request")), stream: frame.stream, on: channel)
            }
            run(request, stream: frame.stream, on: channel)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func run(_ request: Ttrpc_Request, stream: UInt32, on channel: any Channel) {
        guard let service = services[request.service] else {
            let error = RPCError(.unimplemented, "service \(request.service) is not implemented")
            return answer(.failure(error), stream: stream, on: channel)
        }
        var metadata: [String: [String]] = [:]
        for pair in request.metadata { metadata[pair.key, default: []].append(pair.value) }
        let timeout = request.timeoutNano > 0 ? Duration.nanoseconds(request.timeoutNano) : nil
        let observers = AnswerObservers()
        let context = CallContext(metadata: metadata, timeout: timeout, client: client, answer: observers)
        let reply = channel.eventLoop.makePromise(of: [UInt8].self)
        calls += 1
        hasCalled = true
        reply.futureResult.assumeIsolated().whenComplete { result in
            self.calls -= 1
            self.used = .now()
            self.answer(result, stream: stream, on: channel, observers)
        }
        let once = OneShotPromise(reply)
        let timer = timeout.map { limit in
            channel.eventLoop.scheduleTask(in: TimeAmount(limit)) {
                // A handler's answer that has come first cancels this timer.
                observers.expire()
                once.complete(
                    .failure(RPCError(.deadlineExceeded, "\(request.service)/\(request.method): deadline exceeded")))
            }
        }
        Task(executorPreference: executor) {
            let result: Result<[UInt8], any Error>
            do {
                guard let reply = try await service(request.method, Array(request.payload), context) else {
                    throw RPCError(.unimplemented, "method \(request.service)/\(request.method) is not implemented")
                }
                result = .success(reply)
            } catch { result = .failure(error) }
            timer?.cancel()
            once.complete(result)
        }
    }

    private func answer(
        _ result: Result<[UInt8], any Error>, stream: UInt32, on channel: any Channel,
        _ observers: AnswerObservers? = nil
    ) {
        var response = Ttrpc_Response()
        switch result {
        case .success(let payload) where payload.count > Frame.maximumLength - Self.envelope:
            response.status.code = RPCError.Code.resourceExhausted.rawValue
            response.status.message = "reply of \(payload.count) bytes is longer than \(Frame.maximumLength)"
        case .success(let payload): response.payload = .init(payload)
        case .failure(let error):
            let failure = error as? RPCError ?? RPCError(.unknown, "\(error)")
            response.status.code = failure.code.rawValue
            response.status.message = failure.message
        }
        guard let data: [UInt8] = try? response.serializedBytes() else {
            observers?.answered(isWritten: false)
            return
        }
        var buffer = channel.allocator.buffer(capacity: Frame.headerLength + data.count)
        Frame(stream: stream, kind: .response, data: data).write(to: &buffer)
        let written = channel.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { result in
            observers?.answered(isWritten: (try? result.get()) != nil)
        }
        channel.writeAndFlush(buffer, promise: written)
    }
}
