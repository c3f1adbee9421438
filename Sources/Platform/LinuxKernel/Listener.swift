import CLinux
import Glibc
import Synchronization

/// A listening socket, and the thread that accepts its connections until `stop()`.
///
/// Nothing but `stop()` ends that thread. Without a descriptor or memory for a connection (EMFILE, ENFILE, ENOBUFS,
/// ENOMEM; accept(2)) it pauses, and the client waits in the backlog. A client that has hung up already (ECONNABORTED)
/// is skipped.
package final class Listener: Sendable {
    /// The time between two attempts while the kernel can't make a connection's descriptor.
    package static let pause = Duration.milliseconds(100)

    private let socket: FileDescriptor
    private let path: String?
    private let allowedPeer: UInt32?
    private let stopping: WakeUp

    /// Takes over a socket that listens already.
    /// - Parameters:
    ///   - path: the socket's file, which `stop()` removes; nil: none.
    ///   - allowedPeer: the only vsock address (CID) that may connect; nil: any peer.
    /// - Throws: `SystemError` for lack of a descriptor or memory. The socket is closed then, and its file removed.
    package init(_ socket: consuming FileDescriptor, removing path: String? = nil, allowedPeer: UInt32? = nil)
        throws(SystemError)
    {
        // A client may hang up between poll(2) and accept(2), which would then block.
        _ = fcntl(socket.raw, F_SETFL, O_NONBLOCK)
        self.socket = socket
        self.path = path
        self.allowedPeer = allowedPeer
        do { stopping = try WakeUp() } catch {
            // SAFETY: unlink(2) only reads the path.
            if let path { unsafe unlink(path) }
            throw error
        }
    }

    /// Listens on a Unix socket of mode 0600 at `path`, in place of a stale one.
    /// - Throws: as `UnixSocket.listen`.
    package convenience init(unix path: String, _ kind: UnixSocket.Kind = .stream, backlog: Int32 = 128)
        throws(SystemError)
    {
        try self.init(try UnixSocket.listen(path, backlog: backlog, kind), removing: path)
    }

    /// Listens on a vsock port of this machine (vsock(7)).
    /// - Parameter allowedPeer: the only address (CID) that may connect; nil: any peer.
    /// - Throws: `SystemError`, such as EAFNOSUPPORT without vsock in the kernel, or EADDRINUSE for a port that is
    ///   taken.
    package convenience init(vsockPort port: UInt32, allowedPeer: UInt32? = nil) throws(SystemError) {
        let socket = try checkNegativeErrno("listen on", "vsock port \(port)", clx_listen_vsock(port))
        try self.init(FileDescriptor(owning: socket), allowedPeer: allowedPeer)
    }

    /// Starts a thread that calls `body` with each connection, which is close-on-exec, until `stop()`. To be called
    /// once.
    /// - Parameter thread: the thread's name; the kernel keeps 15 bytes.
    /// - Throws: when the thread can't be started.
    package func forEachConnection(
        thread: String, _ body: @escaping @Sendable (consuming FileDescriptor) -> Void
    ) throws(SystemError) {
        try startThread(thread) { [self] in run(body) }
    }

    /// Ends the thread and removes the socket's file. Clients in the backlog are refused; accepted connections stay.
    package func stop() {
        // SAFETY: unlink(2) only reads the path.
        if let path { unsafe unlink(path) }
        stopping.signal()
        // Refuses clients from now on; the descriptor stays open as long as the thread may use its number.
        shutdown(socket.raw, Int32(SHUT_RDWR))
    }

    private func run(_ body: (consuming FileDescriptor) -> Void) {
        while true {
            var polled = [stopping.descriptor, socket.raw].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            // SAFETY: `polled` has the two elements that poll(2) may change.
            let ready = unsafe poll(&polled, 2, -1)
            if polled[0].revents != 0 { return }
            if ready > 0, !acceptOne(body), isStopped(within: Self.pause) { return }
        }
    }

    /// - Returns: false when the kernel lacks the means for a connection, or the socket is broken.
    private func acceptOne(_ body: (consuming FileDescriptor) -> Void) -> Bool {
        var peer: UInt32 = 0
        // SAFETY: the call writes only to `peer`.
        let accepted = unsafe clx_accept_vsock(socket.raw, &peer)
        guard accepted >= 0 else { return [EAGAIN, EINTR, ECONNABORTED].contains(-accepted) }
        let connection = FileDescriptor(owning: accepted)
        if let allowedPeer, allowedPeer != peer { return true }
        body(connection)
        return true
    }

    private func isStopped(within limit: Duration) -> Bool {
        isReady(stopping.descriptor, within: limit)
    }
}
