import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import OCISpec
import Streams
import Synchronization

/// A host socket that a container may use. Streams of the guest are joined with this Unix socket and no other.
///
/// The socket's file is held open from the beginning, as a bind mount would hold it: the guest may replace the path
/// later.
package final class HostSocket: Sendable {
    private struct State: Sendable {
        var clients: [Int: [StreamRelay.Handle]] = [:]
        var last = 0
        var isClosed = false
    }
    private let state = Mutex(State())
    private let path: String
    private let file: FileDescriptor
    private let identities: ContainerIdentities
    private let greeter: SocketGreeter

    /// Owner and mode, as an agent's storage has them.
    package let options: [String]

    /// Opens a socket of the host, and learns its type.
    /// - Throws: `SystemError` when it can't be opened, ENOTSOCK for another file. `SocketForwardError` for a socket of
    ///   another type than stream.
    package init(_ path: String, for identities: ContainerIdentities, greeter: SocketGreeter) throws {
        (self.path, self.identities, self.greeter) = (path, identities, greeter)
        file = try FileDescriptor.open(path, Int32(clx_open_path))
        var facts = stat()
        let raw = file.raw
        // SAFETY: fstat(2) fills the whole structure.
        try check("look at", path) { unsafe fstat(raw, &facts) }
        guard facts.st_mode & S_IFMT == S_IFSOCK else { throw SystemError("share socket", path, errno: ENOTSOCK) }
        options = ["uid=\(facts.st_uid)", "gid=\(facts.st_gid)", "mode=" + String(facts.st_mode & 0o7777, radix: 8)]
        // A socket of another type accepts such a connection without notice (unix(7)).
        for (type, name) in [(Int32(SOCK_DGRAM.rawValue), "datagrams"), (Int32(SOCK_SEQPACKET.rawValue), "packets")] {
            // SAFETY: the call checks the path's length, and copies it.
            let answer = unsafe clx_connect_unix(Self.path(of: raw), type)
            if answer >= 0 { close(answer) }
            guard answer >= 0 || answer == -EAGAIN else { continue }
            throw SocketForwardError(
                description:
                    "\(path) is a socket for \(name): only those for streams reach into a machine; leave it out")
        }
    }

    /// The path of an open socket, which needs no permission for the directories above it.
    private static func path(of descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

    // MARK: Clients

    /// Joins a stream of the guest with the socket. Does not block; a stream beyond the limit is closed.
    package func serve(_ stream: Int32) {
        let number = state.withLock { state -> Int? in
            guard !state.isClosed, state.clients.count < GuestLimit.socketClients.value else { return nil }
            state.last += 1
            state.clients[state.last] = []
            return state.last
        }
        if let number {
            return greeter.take(.init(stream: stream, host: HostSocketClient(socket: self, number: number)))
        }
        close(stream)
        if !isClosed { greeter.limits.reached(.socketClients, path) }
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Connects for a client, with the identity of a process of the container or with no rights.
    ///
    /// Uses a new thread, which ends with that identity. Does not wait for the listener.
    /// - Throws: EAGAIN when the listener's backlog is full, EACCES when the socket's mode refuses the identity.
    func connect(for client: SocketRelay.Client) throws(SystemError) -> FileDescriptor {
        let identity = identities.identity(claimed: client)
        if identity == nil { greeter.limits.reached(.socketIdentity, "\(path) by \(client.user):\(client.group)") }
        let who = identity ?? .overflow
        let result = Atomic<Int32>(0)
        try runThread("socket") { [self] in
            // SAFETY: the groups and `identity` outlive the call, which only reads them.
            let connected = unsafe who.groups.withUnsafeBufferPointer { groups in
                var identity = unsafe clx_identity(
                    user: who.user, group: who.group, groups: groups.baseAddress, group_count: groups.count,
                    overrides_modes: who.overridesModes ? 1 : 0)
                return unsafe clx_connect_unix_as(Self.path(of: file.raw), &identity)
            }
            result.store(connected, ordering: .releasing)
        }
        return FileDescriptor(owning: try checkNegativeErrno("connect to", path, result.load(ordering: .acquiring)))
    }

    fileprivate func joined(_ handles: [StreamRelay.Handle], _ number: Int) {
        let isClosed = state.withLock { state in
            state.clients[number] = handles
            return state.isClosed
        }
        if isClosed { for handle in handles { greeter.relay.end(handle) } }
        handles[0].whenEnded { [self] in handles[1].whenEnded { [self] in leave(number) } }
    }

    fileprivate func leave(_ number: Int) { state.withLock { $0.clients[number] = nil } }

    /// Ends all streams. Idempotent.
    package func close() {
        let handles = state.withLock { state in
            state.isClosed = true
            return state.clients.values.flatMap(\.self)
        }
        for handle in handles { greeter.relay.end(handle) }
        greeter.wake()
    }

    private func close(_ descriptor: Int32) { Glibc.close(descriptor) }
}

/// One stream of the guest to a socket of the host.
private struct HostSocketClient: GreetedStream {
    let socket: HostSocket
    /// The number that the socket has given the stream.
    let number: Int

    var greetingLength: Int { SocketRelay.Client.length }
    var greetingLimit: Duration { Deadline.socket.limit }
    var isClosed: Bool { socket.isClosed }

    func peer(for greeting: [UInt8]) throws(SystemError) -> FileDescriptor {
        guard let client = SocketRelay.Client(greeting) else {
            throw SystemError("read", "a client's identity", errno: EPROTO)
        }
        return try socket.connect(for: client)
    }

    func joined(_ handles: [StreamRelay.Handle], by greeter: SocketGreeter) { socket.joined(handles, number) }
    func refuse() { socket.leave(number) }
}

/// The reason why a socket of the host can't be given to a container.
package struct SocketForwardError: Error, CustomStringConvertible {
    package let description: String
}
