import EventLoop
import LinuxKernel
import NIOCore
import NIOPosix

/// Answers ttrpc calls. Calls of one connection run side by side; their answers come in any order.
package final class RPCServer: Sendable {
    private let loop: any EventLoop
    private let services: [String: RPCService]
    private let connections: NIOLoopBoundBox<ServerConnections>

    /// - Parameters:
    ///   - services: by their full names.
    ///   - maxConnections: a further connection closes an idle one: first one that has never called, else the one idle
    ///     for longest.
    package init(eventLoop: any EventLoop, services: [String: RPCService], maxConnections: Int = 512) {
        loop = eventLoop
        self.services = services
        connections = .makeBoxSendingValue(ServerConnections(max: maxConnections), eventLoop: eventLoop)
    }

    /// Serves one connected stream socket and takes it over.
    /// - Throws: NIO's error for a socket that can't be registered with the loop.
    package func accept(socket: Int32) async throws {
        _ = try await ClientBootstrap(group: loop)
            .channelInitializer { self.initialize($0) }.withConnectedSocket(socket).get()
    }

    /// Serves every connection to a listening socket and takes it over.
    /// - Throws: NIO's error for a socket that can't be registered with the loop.
    package func listen(socket: Int32) async throws -> any Channel {
        try await ServerBootstrap(group: loop).childChannelInitializer { self.initialize($0) }
            .withBoundSocket(socket).get()
    }

    /// Serves every connection to a vsock port of this machine (vsock(7)).
    /// - Throws: NIO's `IOError`, such as EAFNOSUPPORT without vsock in the kernel, or EADDRINUSE for a port that is
    ///   taken.
    package func listen(vsockPort: UInt32) async throws -> any Channel {
        try await ServerBootstrap(group: loop).childChannelInitializer { self.initialize($0) }
            .bind(to: VsockAddress(cid: .any, port: VsockAddress.Port(rawValue: vsockPort))).get()
    }

    /// Ends the output of every connection, then waits until each client has closed its end, at most for `limit`.
    ///
    /// Before a machine powers off: bytes that are written may still be in its kernel, and a client that sees the end
    /// has them all. Answers to calls that are still under way are lost.
    package func closeConnections(within limit: Duration) async {
        let closed = loop.flatSubmit { [loop, connections] in
            let channels = connections.value.channels
            for channel in channels { channel.close(mode: .output, promise: nil) }
            return EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop)
        }
        let promise = loop.makePromise(of: Void.self)
        let once = OneShotPromise(promise)
        closed.whenComplete { once.complete($0) }
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { once.complete(.success(())) }
        try? await promise.futureResult.get()
        timer.cancel()
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
