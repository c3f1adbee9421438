import AgentAPI
import CLinux
import Deadlines
import Glibc
import Linux
import OCISpec
import Synchronization

/// A Unix socket of the host that a container has. The guest's streams are joined with it, and with nothing else.
///
/// It is held open from the beginning, as a bind mount would hold it: what is put at its path later is another file, which the
/// guest may have put there.
final class HostSocket: Sendable {
    private static let mostClients = 512

    private struct State: Sendable {
        var clients: [Int: [StreamRelay.Handle]] = [:]
        var last = 0
        var isClosed = false
    }
    private let state = Mutex(State())
    private let file: FileDescriptor
    private let relay: StreamRelay
    /// What the users and groups of the container's namespace are outside; empty without one.
    private let users: [IDMapping]
    private let groups: [IDMapping]

    /// Owner and mode, as an agent's storage has them.
    let options: [String]

    init(_ path: String, users: [IDMapping] = [], groups: [IDMapping] = [], relay: StreamRelay) throws {
        (self.relay, self.users, self.groups) = (relay, users, groups)
        file = try FileDescriptor.open(path, Int32(clx_open_path))
        var facts = stat()
        let raw = file.raw
        try check("look at", path) { fstat(raw, &facts) }
        guard facts.st_mode & S_IFMT == S_IFSOCK else { throw SystemError("share socket", path, errno: ENOTSOCK) }
        options = ["uid=\(facts.st_uid)", "gid=\(facts.st_gid)", "mode=" + String(facts.st_mode & 0o7777, radix: 8)]
        // A socket of another type says so and does not hear of it (unix(7)).
        for (type, name) in [(Int32(SOCK_DGRAM.rawValue), "datagrams"), (Int32(SOCK_SEQPACKET.rawValue), "packets")] {
            let answer = clx_connect_unix(Self.path(of: raw), type, 0, 0, 1)
            guard answer >= 0 else { continue }
            close(answer)
            throw SandboxError(
                .invalid, "\(path) is a socket for \(name): only those for streams reach into a machine; leave it out")
        }
    }

    private static func path(of descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

    /// Joins a stream of the guest with the socket. Does not block; a stream too many is closed.
    func serve(_ stream: Int32) {
        let number = state.withLock { state -> Int? in
            guard !state.isClosed, state.clients.count < Self.mostClients else { return nil }
            state.last += 1
            state.clients[state.last] = []
            return state.last
        }
        guard let number else {
            close(stream)
            return
        }
        let isServed: Void? = try? startThread("socket") { [self] in
            let stream = FileDescriptor(owning: stream)
            guard let socket = connect(for: stream.raw) else { return leave(number) }
            keep(relay.join(stream, socket), number)
        }
        if isServed == nil {
            close(stream)
            leave(number)
        }
    }

    /// - Returns: a connection to the socket for who is at the other end; nil when it is refused.
    private func connect(for stream: Int32) -> FileDescriptor? {
        guard let client = greeting(of: stream), isInside(client.user, users), isInside(client.group, groups) else {
            return nil
        }
        let socket = clx_connect_unix(
            Self.path(of: file.raw), Int32(SOCK_STREAM.rawValue), client.user, client.group,
            Int32(Deadline.socket.seconds))
        return socket < 0 ? nil : FileDescriptor(owning: socket)
    }

    private func greeting(of stream: Int32) -> SocketRelay.Client? {
        let deadline = ContinuousClock.now + Deadline.socket.limit
        var bytes: [UInt8] = []
        while bytes.count < SocketRelay.Client.length {
            let left = (deadline - ContinuousClock.now) / .milliseconds(1)
            var ready = pollfd(fd: stream, events: Int16(POLLIN), revents: 0)
            guard left > 0, poll(&ready, 1, Int32(left)) != 0 else { return nil }
            var chunk = [UInt8](repeating: 0, count: SocketRelay.Client.length - bytes.count)
            let count = read(stream, &chunk, chunk.count)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { return nil }
            bytes += chunk[..<count]
        }
        return SocketRelay.Client(bytes)
    }

    /// A guest may claim to be anybody: in a user namespace, nobody beyond it.
    private func isInside(_ number: UInt32, _ mapped: [IDMapping]) -> Bool {
        mapped.isEmpty || mapped.contains { number >= $0.hostID && number - $0.hostID < $0.size }
    }

    private func keep(_ handles: [StreamRelay.Handle], _ number: Int) {
        let isClosed = state.withLock { state in
            state.clients[number] = handles
            return state.isClosed
        }
        if isClosed { for handle in handles { relay.end(handle) } }
        handles[0].whenEnded { [self] in handles[1].whenEnded { [self] in leave(number) } }
    }

    private func leave(_ number: Int) { state.withLock { $0.clients[number] = nil } }

    /// Ends all streams. Idempotent.
    func close() {
        let handles = state.withLock { state in
            state.isClosed = true
            return state.clients.values.flatMap(\.self)
        }
        for handle in handles { relay.end(handle) }
    }

    private func close(_ descriptor: Int32) { Glibc.close(descriptor) }
}

extension Sandbox {
    /// Listens for clients of the sockets of a container, and says to the agent where they are to be.
    func offer(_ sockets: [GuestSpec.Socket], _ spec: Spec, for record: Container) throws -> [Grpc_Storage] {
        guard let dialer, let relay else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        return try sockets.map { wanted in
            let socket = try HostSocket(
                wanted.source, users: spec.linux?.uidMappings ?? [], groups: spec.linux?.gidMappings ?? [], relay: relay
            )
            let port = nextPort()
            try dialer.listen(port: port) { socket.serve($0) }
            record.sockets.append((port, socket))
            var storage = Grpc_Storage()
            (storage.driver, storage.source) = (SocketRelay.driver, "\(port)")
            (storage.mountPoint, storage.options) = (wanted.path, socket.options)
            return storage
        }
    }

    func withdrawSockets(of record: Container) {
        for (port, socket) in record.sockets {
            dialer?.stopListening(port: port)
            socket.close()
        }
        record.sockets = []
    }
}
