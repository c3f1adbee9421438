import AgentAPI
import Channel
import Glibc
import LinuxKernel
import Streams
import Synchronization

/// Listens for clients of every port on the loopback addresses of a sandbox's network namespace: 127.0.0.1 and ::1.
///
/// Kubernetes' port-forward connects there. Programs of the guest that listen on its own loopback addresses get these
/// connections. Nothing of it outlives this process, which holds both the socket and the redirection.
package final class PortForward: Sendable {
    private let listener: Listener
    /// Ends the redirection when it is closed.
    private let redirection: Mutex<FileDescriptor?>
    private let clients = Mutex(0)

    /// - Parameter serve: takes each client over. Must not block.
    /// - Throws: `SystemError`, such as EPERM where the host allows this process no such programs (bpf(2)).
    package init(
        in namespace: NetworkNamespace, limits: LimitLog, serve: @escaping @Sendable (PortClient) -> Void
    ) throws(SystemError) {
        let made = Mutex(Result<[Int32], SystemError>.failure(SystemError("start", "thread", errno: EIO)))
        // A socket belongs to the namespace of the thread that makes it, which can't leave it again.
        try runThread("forward") {
            let result = Result { () throws(SystemError) in
                try namespace.enter()
                let socket = try InternetSocket.listenOnLoopback()
                let redirection = try LoopbackRedirection.start(to: socket)
                return [socket.take(), redirection.take()]
            }
            made.withLock { $0 = result }
        }
        let descriptors = try made.withLock { $0 }.get()
        redirection = Mutex(FileDescriptor(owning: descriptors[1]))
        listener = try Listener(FileDescriptor(owning: descriptors[0]))
        try listener.forEachConnection(thread: "forward") { [self] connection in
            guard let port = InternetSocket.localPort(of: connection.raw) else { return }
            let client = PortClient(connection, port: port) { [self] in clients.withLock { $0 -= 1 } }
            let isTooMany = clients.withLock { clients in
                clients += 1
                return clients > GuestLimit.portClients.value
            }
            guard isTooMany else { return serve(client) }
            limits.reached(.portClients, "\(port)")
            client.refuse()
        }
    }

    /// Accepts no further clients.
    package func close() {
        redirection.withLock { $0 = nil }
        listener.stop()
    }
}

/// A client of a port of the guest.
package final class PortClient: GreetedStream {
    /// The port that it has connected to.
    package let port: UInt16
    private let connection: Mutex<FileDescriptor?>
    private let ended: @Sendable () -> Void

    init(_ connection: consuming FileDescriptor, port: UInt16, ended: @escaping @Sendable () -> Void) {
        self.port = port
        InternetSocket.sendAtOnce(connection.raw)
        self.connection = Mutex(connection)
        self.ended = ended
    }

    /// Tells the agent the port on a new stream, and joins both once it answers that it has connected.
    package func connect(through stream: consuming FileDescriptor, _ greeter: SocketGreeter) {
        let greeting = PortRelay.greeting(port)
        // SAFETY: send(2) only reads the `greeting.count` bytes.
        guard unsafe send(stream.raw, greeting, greeting.count, Int32(MSG_NOSIGNAL)) == greeting.count else {
            return refuse()
        }
        greeter.take(.init(stream: stream.take(), host: self))
    }

    /// Resets the connection, as a port without a listener does.
    package func refuse() {
        guard let connection = take() else { return }
        InternetSocket.resetWhenClosed(connection.raw)
        ended()
    }

    private func take() -> FileDescriptor? {
        connection.withLock { held in
            var taken: FileDescriptor?
            swap(&taken, &held)
            return taken
        }
    }

    // MARK: GreetedStream

    var greetingLength: Int { 1 }
    var greetingLimit: Duration { Deadline.forwardAnswer.limit }
    var isClosed: Bool { false }

    func peer(for greeting: [UInt8]) throws(SystemError) -> FileDescriptor {
        guard greeting.first.flatMap(PortRelay.Answer.init) == .connected, let connection = take() else {
            throw SystemError("connect to port", "\(port)", errno: ECONNREFUSED)
        }
        return connection
    }

    func joined(_ handles: [StreamRelay.Handle], by greeter: SocketGreeter) {
        handles[0].whenEnded { [self] in handles[1].whenEnded { [self] in ended() } }
    }
}
