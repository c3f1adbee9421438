import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import Streams
import TTRPC

/// Stands in the guest for a Unix socket of the host: each of its clients has a stream to it.
package final class GuestSocket: Sendable {

    private let path: String
    private let listener: Int32

    /// Listens from now on.
    package init(_ storage: Grpc_Storage, relay: StreamRelay) throws {
        guard let port = UInt32(storage.source), storage.mountPoint.hasPrefix("/") else {
            throw RPCError(
                .invalidArgument,
                "storage of driver \(SocketRelay.driver): \"\(storage.source)\" is no port, or \"\(storage.mountPoint)\" no path"
            )
        }
        func option(_ name: String, radix: Int = 10) -> UInt32? {
            let given = storage.options.last { $0.hasPrefix(name + "=") }
            return given.flatMap { UInt32($0.dropFirst(name.utf8.count + 1), radix: radix) }
        }
        path = storage.mountPoint
        try Files.makeDirectory(Files.parent(of: path), mode: 0o755)
        // Nobody connects before owner and mode are right; and this name is short enough for an address (unix(7)), as the path may not be.
        let unready = "/run/socket-\(port)"
        let socket = try UnixSocket.listen(unready)
        do {
            try check("give", unready) { chown(unready, option("uid") ?? 0, option("gid") ?? 0) }
            try check("set mode of", unready) { chmod(unready, option("mode", radix: 8) ?? 0o600) }
            try check("rename \(unready) to", path) { [path] in rename(unready, path) }
        } catch {
            unlink(unready)
            throw error
        }
        listener = socket.take()
        detachThread("socket") { [listener] in
            Self.serve(listener, port, relay)
            // Here alone, that nobody else gets the number while accept(2) uses it.
            Glibc.close(listener)
        }
    }

    private static func serve(_ listener: Int32, _ port: UInt32, _ relay: StreamRelay) {
        while true {
            let client = clx_accept(listener)
            switch -client {
            case EINTR, ECONNABORTED: continue
            // Clients wait until others have gone.
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: usleep(100_000)
            case 1...: return
            default: join(FileDescriptor(owning: client), port, relay)
            }
        }
    }

    private static func join(_ client: consuming FileDescriptor, _ port: UInt32, _ relay: StreamRelay) {
        var (user, group): (UInt32, UInt32) = (0, 0)
        guard clx_peer_identity(client.raw, &user, &group) == 0, let stream = try? Vsock.connect(port: port) else {
            return
        }
        let greeting = SocketRelay.Client(user: user, group: group).bytes
        guard send(stream.raw, greeting, greeting.count, Int32(MSG_NOSIGNAL)) == greeting.count else { return }
        relay.join(client, stream)
    }

    /// Takes no more clients; those that are there stay until they or the host end.
    package func close() {
        unlink(path)
        shutdown(listener, Int32(SHUT_RDWR))
    }
}
