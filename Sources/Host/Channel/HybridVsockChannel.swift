import EventLoop
import Glibc
import LinuxKernel
import Synchronization

import protocol NIOCore.EventLoop

/// The vsock of Firecracker and Cloud Hypervisor: a Unix socket on which a line of text names the guest's port
/// (Firecracker docs/vsock.md). Streams that the guest opens arrive at `<socket>_<port>`.
package final class HybridVsockChannel: GuestChannel {
    private let socketPath: String
    private let loop: any EventLoop
    private let listeners = Mutex<[UInt32: Listener]>([:])
    private let closed = Mutex(false)

    package init(socketPath: String, loop: any EventLoop) {
        self.socketPath = socketPath
        self.loop = loop
    }

    package func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        let dial = RetriedDial(port: port, timeout: timeout, loop: loop) { [self] in closed.withLock { $0 } }
        return try await dial { [socketPath] deadline in try Self.connect(socketPath, port, until: deadline) }
    }

    /// Opens a stream to `port` over a socket of this kind.
    /// - Throws: `SystemError` when the socket can't be used, EAGAIN at the deadline. `ChannelError` for another answer
    ///   than `OK`.
    package static func connect(_ path: String, _ port: UInt32, until deadline: ContinuousClock.Instant) throws
        -> FileDescriptor
    {
        let socket = try UnixSocket.connect(path)
        socket.setReadLimit(deadline - .now)
        try socket.send(Array("CONNECT \(port)\n".utf8), descriptors: [])
        // One byte at a time: bytes after the line belong to the stream.
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.count < 32 {
            // SAFETY: read(2) writes at most the one byte.
            guard try check("read", path, { unsafe read(socket.raw, &byte, 1) }) == 1 else { break }
            if byte == UInt8(ascii: "\n") {
                guard line.starts(with: Array("OK ".utf8)) else { break }
                socket.setReadLimit(nil)
                return socket
            }
            line.append(byte)
        }
        throw ChannelError("\(path) refused vsock port \(port)")
    }

    package func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws {
        let listener = try Listener(unix: "\(socketPath)_\(port)")
        listeners.withLock { $0[port] = listener }
        try listener.forEachConnection(thread: "hybrid-\(port)") { accept($0.take()) }
    }

    package func stopListening(port: UInt32) { listeners.withLock { $0.removeValue(forKey: port) }?.stop() }

    package func close() {
        closed.withLock { $0 = true }
        let all = listeners.withLock { listeners in
            defer { listeners = [:] }
            return Array(listeners.values)
        }
        for listener in all { listener.stop() }
    }
}
