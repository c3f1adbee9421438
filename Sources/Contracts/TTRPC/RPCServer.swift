import EventLoop
import LinuxKernel
import NIOCore
import NIOPosix
import SwiftProtobuf

/// Answers ttrpc calls. Calls of one connection run side by side; their answers come in any order.
package final class RPCServer: Sendable {
    private let loop: any EventLoop
    private let services: [String: RPCService]
    private let connections: NIOLoopBoundBox<Connections>

    /// - Parameters:
    ///   - services: by their full names.
    ///   - maxConnections: one more, and one makes room that has never called, or else that has no call under way for longest.
    package init(eventLoop: any EventLoop, services: [String: RPCService], maxConnections: Int = 512) {
        loop = eventLoop
        self.services = services
        connections = .makeBoxSendingValue(Connections(most: maxConnections), eventLoop: eventLoop)
    }

    /// Serves one connected stream socket, which it takes.
    package func accept(socket: Int32) async throws {
        _ = try await ClientBootstrap(group: loop).channelInitializer { self.initialize($0) }.withConnectedSocket(
            socket
        ).get()
    }

    /// Serves every connection to a listening socket, which it takes.
    package func listen(socket: Int32) async throws -> any Channel {
        try await ServerBootstrap(group: loop).childChannelInitializer { self.initialize($0) }
            .withBoundSocket(socket).get()
    }

    /// Serves every connection to a vsock port of this machine (vsock(7)).
    package func listen(vsockPort: UInt32) async throws -> any Channel {
        try await ServerBootstrap(group: loop).childChannelInitializer { self.initialize($0) }
            .bind(to: VsockAddress(cid: .any, port: VsockAddress.Port(rawValue: vsockPort))).get()
    }

    private func initialize(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandlers([
                ByteToMessageHandler(FrameDecoder()),
                ServerConnection(services: services, connections: connections.value, executor: LoopExecutor(loop)),
            ])
        }
    }
}

/// All connections of a server: who says nothing costs others nothing.
private final class Connections {
    private let most: Int
    private var all: [ObjectIdentifier: (connection: ServerConnection, channel: any Channel)] = [:]

    init(most: Int) { self.most = most }

    func add(_ connection: ServerConnection, _ channel: any Channel) {
        all[ObjectIdentifier(connection)] = (connection, channel)
        guard all.count > most else { return }
        let idle = all.values.filter { $0.connection.calls == 0 && $0.connection !== connection }
        // Who has never called goes first, then who has not called for longest.
        let first = idle.min {
            ($0.connection.hasCalled ? 1 : 0, $0.connection.used) < (
                $1.connection.hasCalled ? 1 : 0, $1.connection.used
            )
        }
        (first?.channel ?? channel).close(promise: nil)
    }

    func remove(_ connection: ServerConnection) { all[ObjectIdentifier(connection)] = nil }
}

/// One connection of a server.
private final class ServerConnection: ChannelInboundHandler {
    typealias InboundIn = Inbound
    typealias OutboundOut = ByteBuffer

    private let services: [String: RPCService]
    private let connections: Connections
    private let executor: LoopExecutor
    /// Under way.
    private(set) var calls = 0
    /// When the last one ended, or the connection began.
    private(set) var used = NIODeadline.now()
    private(set) var hasCalled = false

    init(services: [String: RPCService], connections: Connections, executor: LoopExecutor) {
        self.services = services
        self.connections = connections
        self.executor = executor
    }

    func channelActive(context: ChannelHandlerContext) { connections.add(self, context.channel) }
    func channelInactive(context: ChannelHandlerContext) { connections.remove(self) }

    /// Who does not take its answers asks no more.
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
            // Only unary calls are spoken here: other frames have no call to belong to.
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
        let reply = channel.eventLoop.makePromise(of: [UInt8].self)
        calls += 1
        hasCalled = true
        reply.futureResult.assumeIsolated().whenComplete { result in
            self.calls -= 1
            self.used = .now()
            self.answer(result, stream: stream, on: channel)
        }
        let once = OneShotPromise(reply)
        let timer = timeout.map { limit in
            channel.eventLoop.scheduleTask(in: TimeAmount(limit)) {
                once.complete(
                    .failure(RPCError(.deadlineExceeded, "\(request.service)/\(request.method): deadline exceeded")))
            }
        }
        Task(executorPreference: executor) {
            let result: Result<[UInt8], any Error>
            do {
                let context = CallContext(metadata: metadata, timeout: timeout)
                guard let reply = try await service(request.method, Array(request.payload), context) else {
                    throw RPCError(.unimplemented, "method \(request.service)/\(request.method) is not implemented")
                }
                result = .success(reply)
            } catch { result = .failure(error) }
            timer?.cancel()
            once.complete(result)
        }
    }

    private func answer(_ result: Result<[UInt8], any Error>, stream: UInt32, on channel: any Channel) {
        var response = Ttrpc_Response()
        switch result {
        case .success(let payload) where payload.count > Frame.maximumLength - 64:
            response.status.code = RPCError.Code.resourceExhausted.rawValue
            response.status.message = "reply of \(payload.count) bytes is longer than \(Frame.maximumLength)"
        case .success(let payload): response.payload = .init(payload)
        case .failure(let error):
            let failure = error as? RPCError ?? RPCError(.unknown, "\(error)")
            response.status.code = failure.code.rawValue
            response.status.message = failure.message
        }
        guard let data: [UInt8] = try? response.serializedBytes() else { return }
        var buffer = channel.allocator.buffer(capacity: Frame.headerLength + data.count)
        Frame(stream: stream, kind: .response, data: data).write(to: &buffer)
        channel.writeAndFlush(buffer, promise: nil)
    }
}
