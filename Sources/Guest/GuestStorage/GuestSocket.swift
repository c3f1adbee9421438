import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import Streams
import TTRPC

/// A Unix socket in the guest in place of one on the host: each client gets a vsock stream to the host's socket.
package final class GuestSocket: Sendable {
    private let path: String
    private let listener: Listener

    /// Owner, group and mode of the socket's file, from the options of a storage.
    private struct Access {
        var owner: UInt32 = 0
        var group: UInt32 = 0
        var mode: UInt32 = 0o600

        init(_ options: [String]) {
            func number(_ name: String, radix: Int = 10) -> UInt32? {
                let given = options.last { $0.hasPrefix(name + "=") }
                return given.flatMap { UInt32($0.dropFirst(name.utf8.count + 1), radix: radix) }
            }
            owner = number("uid") ?? owner
            group = number("gid") ?? group
            mode = number("mode", radix: 8) ?? mode
        }
    }

    /// Listens from now on.
    /// - Throws: `RPCError` with `invalidArgument` for a storage that names no port or path; `SystemError` when the
    ///   socket or its thread can't be made.
    package init(_ storage: Grpc_Storage, relay: StreamRelay) throws {
        guard let port = UInt32(storage.source), storage.mountPoint.hasPrefix("/") else {
            throw RPCError(
                .invalidArgument,
                "storage of driver \(SocketRelay.driver): \"\(storage.source)\" is no port, or \"\(storage.mountPoint)\" no path"
            )
        }
        path = storage.mountPoint
        try Files.makeDirectory(Files.parent(of: path), mode: 0o755)
        listener = try Listener(Self.listen(at: path, port, Access(storage.options)))
        try listener.forEachConnection(thread: "socket") { Self.connect($0, port, relay) }
    }

    /// Listens on a temporary path, sets owner and mode, then renames the socket to `path`. No client can connect
    /// before it has the right owner and mode. The temporary path fits into a socket address (unix(7)); `path` may be
    /// longer.
    private static func listen(at path: String, _ port: UInt32, _ access: Access) throws(SystemError) -> FileDescriptor
    {
        let unready = "/run/socket-\(port)"
        let socket = try UnixSocket.listen(unready)
        // SAFETY: the calls only read their paths.
        do throws(SystemError) {
            try check("give", unready) { unsafe chown(unready, access.owner, access.group) }
            try check("set mode of", unready) { unsafe chmod(unready, access.mode) }
            try check("rename \(unready) to", path) { unsafe rename(unready, path) }
        } catch {
            unsafe unlink(unready)
            throw error
        }
        return socket
    }

    /// Opens a stream to the host, sends the client's identity, and relays.
    private static func connect(_ client: consuming FileDescriptor, _ port: UInt32, _ relay: StreamRelay) {
        var (user, group): (UInt32, UInt32) = (0, 0)
        // SAFETY: the call writes to both numbers.
        guard unsafe clx_peer_identity(client.raw, &user, &group) == 0, let stream = try? Vsock.connect(port: port)
        else {
            return
        }
        let greeting = SocketRelay.Client(user: user, group: group).bytes
        // SAFETY: send(2) reads as many bytes as the greeting has.
        guard unsafe send(stream.raw, greeting, greeting.count, Int32(MSG_NOSIGNAL)) == greeting.count else { return }
        relay.join(client, stream)
    }

    /// Accepts no further clients. Those that are connected stay until they or the host end.
    package func close() {
        // SAFETY: the call only reads the path.
        unsafe unlink(path)
        listener.stop()
    }
}
