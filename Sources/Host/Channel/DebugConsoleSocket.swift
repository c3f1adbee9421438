import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A Unix socket on which the host's root opens a stream to the guest's debug console. The protocol is that of
/// Firecracker's vsock: `CONNECT 1026`, answered by `OK` and a number. It leads to no other port of the guest.
package final class DebugConsoleSocket: Sendable {
    private static let port = GuestPort.debugConsole

    private let listener: Listener
    private let relay: StreamRelay

    /// Listens at `path`.
    /// - Throws: `SystemError` when nothing can listen there, or a thread can't be started.
    package init(_ path: String, channel: any GuestChannel, loop: any EventLoop) throws(SystemError) {
        relay = try StreamRelay()
        listener = try Listener(unix: path)
        try listener.forEachConnection(thread: "debug-console") { [relay] connection in
            let socket = connection.take()
            Task(executorPreference: LoopExecutor(loop)) { await Self.answer(socket, channel, relay) }
        }
    }

    private static func answer(_ socket: Int32, _ channel: any GuestChannel, _ relay: StreamRelay) async {
        let client = FileDescriptor(owning: socket)
        do {
            // A client that sends no request in time is dropped.
            try await blocking("debug-console") { try readRequest(socket) }
            let guest = FileDescriptor(owning: try await channel.dial(port: port, timeout: Deadline.console.limit))
            let answer = "OK \(port)\n"
            // SAFETY: send(2) reads the bytes of the text only.
            _ = unsafe send(client.raw, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
            relay.join(client, guest)
        } catch {}
    }

    private static func readRequest(_ socket: Int32) throws {
        UnixSocket.setReadLimit(socket, Deadline.console.limit)
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.last != UInt8(ascii: "\n"), line.count < 32 {
            // SAFETY: read(2) writes at most the one byte.
            guard try check("read", "debug console", { unsafe read(socket, &byte, 1) }) == 1 else { break }
            line.append(byte)
        }
        guard line == Array("CONNECT \(port)\n".utf8) else {
            throw ChannelError("the debug console was asked for something else")
        }
    }

    /// Ends the socket and every stream through it.
    package func close() {
        listener.stop()
        relay.stop()
    }
}
