import EventLoop
import LinuxKernel
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

    /// Makes a client of a connected stream socket and takes it over.
    /// - Throws: NIO's error for a socket that can't be registered with the loop.
    package static func connect(socket: Int32, limits: ReplyLimits = .standard, on loop: any EventLoop) async throws
        -> RPCClient
    {
        let calls = try await loop.submit { NIOLoopBound(ClientConnection(limits), eventLoop: loop) }.get()
        let channel = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = calls.value
                    let decoder = FrameDecoder { stream, kind in connection.longestData(of: stream, kind) }
                    try channel.pipeline.syncOperations.addHandlers([ByteToMessageHandler(decoder), connection])
                }
            }
            .withConnectedSocket(socket).get()
        return RPCClient(channel: channel, calls: calls)
    }

    /// Connects to a server that listens on a Unix socket.
    /// - Throws: `SystemError`: ENOENT without a socket at the path, ECONNREFUSED when nothing listens on it.
    package static func connect(unixPath: String, on loop: any EventLoop) async throws -> RPCClient {
        try await connect(socket: try UnixSocket.connect(unixPath).take(), on: loop)
    }

    /// Calls a method and waits for its reply.
    /// - Parameter timeout: for the server and for this side; nil waits until the connection ends.
    /// - Throws: as the call with encoded messages. Also `RPCError` with `internal` for a reply that is not a `Reply`.
    package func call<Request: Message, Reply: Message>(
        _ service: String, _ method: String, _ request: Request, timeout: Duration?, metadata: [String: [String]] = [:]
    ) async throws -> Reply {
        let payload = try await call(
            service, method, payload: try request.serializedBytes(), timeout: timeout, metadata: metadata)
        do { return try Reply(serializedBytes: payload) } catch {
            throw RPCError(.internal, "\(service)/\(method): the reply is not a \(Reply.protoMessageName)")
        }
    }

    /// Calls a method with encoded messages, for callers that forward them.
    /// - Throws: `RPCError`: the server's own, `deadlineExceeded` without an answer within `timeout`, `unavailable`
    ///   when the connection ends first. `resourceExhausted` for a request or reply that is too long, `internal` for an
    ///   answer that is no ttrpc response.
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
        let once = OneShotPromise(promise)
        channel.eventLoop.execute { [calls, channel] in
            calls.value.send(
                ClientConnection.Call(name: service + "/" + method, method: method, data: data, once: once), on: channel
            )
        }
        let timer = timeout.map { limit in
            channel.eventLoop.scheduleTask(in: TimeAmount(limit)) {
                once.complete(.failure(RPCError(.deadlineExceeded, "\(service)/\(method): no answer within \(limit)")))
            }
        }
        defer { timer?.cancel() }
        do { return try await promise.futureResult.get() } catch {
            // Forget the call: a late answer is dropped, and no memory is kept for one that never comes.
            channel.eventLoop.execute { [calls, channel] in calls.value.forget(once, on: channel) }
            throw error
        }
    }

    /// The number of calls without an answer.
    var waitingCalls: Int {
        get async throws { try await channel.eventLoop.submit { [calls] in calls.value.count }.get() }
    }

    /// Completes when either side has ended the connection.
    package var closed: EventLoopFuture<Void> { channel.closeFuture }

    package func close() async { try? await channel.close().get() }
}
