import EventLoop
import Glibc
import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A unix socket on which root of the host gets a stream to the guest's debug console, asked for as with Firecracker's vsock:
/// `CONNECT 1026`, answered by `OK` and a number. No other port of the guest is reached through it.
package final class DebugConsoleDoor: Sendable {
    package static let port: UInt32 = 1026

    private let listener: FileDescriptor
    private let path: String
    private let relay: StreamRelay

    init(_ path: String, dialer: any GuestDialer, loop: any EventLoop) throws(SystemError) {
        self.path = path
        listener = try UnixSocket.listen(path)
        relay = try StreamRelay()
        try startThread("debug-console") { [self] in
            UnixSocket.acceptAll(listener.raw) { socket in
                Task(executorPreference: LoopExecutor(loop)) { [relay] in await Self.answer(socket, dialer, relay) }
            }
        }
    }

    private static func answer(_ socket: Int32, _ dialer: any GuestDialer, _ relay: StreamRelay) async {
        let client = FileDescriptor(owning: socket)
        do {
            // Root of the host asks, in one line; who doesn't is not waited for.
            try await blocking("debug-console") { try readRequest(socket) }
            let guest = FileDescriptor(owning: try await dialer.dial(port: port, timeout: Deadline.console.limit))
            let answer = "OK \(port)\n"
            _ = send(client.raw, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
            relay.join(client, guest)
        } catch {}
    }

    private static func readRequest(_ socket: Int32) throws {
        UnixSocket.setReadLimit(socket, Deadline.console.limit)
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.last != UInt8(ascii: "\n"), line.count < 32 {
            guard try check("read", "debug console", { read(socket, &byte, 1) }) == 1 else { break }
            line.append(byte)
        }
        guard line == Array("CONNECT \(port)\n".utf8) else {
            throw SandboxError(.invalid, "the debug console was asked for something else")
        }
    }

    /// Ends the door and every stream through it. Closing the descriptor would race with accept(2) on it.
    func close() {
        shutdown(listener.raw, Int32(SHUT_RDWR))
        unlink(path)
        relay.stop()
    }
}
