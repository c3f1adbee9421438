import CLinux
import Glibc

/// Unix-domain sockets, close-on-exec from birth.
package enum UnixSocket {
    /// A stream of bytes, or whole messages.
    package enum Kind: Sendable {
        case stream, messages
        fileprivate var number: Int32 { Int32((self == .stream ? SOCK_STREAM : SOCK_SEQPACKET).rawValue) }
    }

    private static func make(_ kind: Kind, _ path: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try check("socket", path) { Glibc.socket(AF_UNIX, kind.number | O_CLOEXEC, 0) })
    }

    /// Binds and listens; a stale file at `path` is replaced. Mode 0600 (unix(7)).
    /// - Throws: `SystemError`: ENAMETOOLONG for a path of more than 107 bytes; the errno of socket(2), bind(2) or
    ///   listen(2), such as ENOENT without the directory.
    package static func listen(_ path: String, backlog: Int32 = 128, _ kind: Kind = .stream) throws(SystemError)
        -> FileDescriptor
    {
        let socket = try make(kind, path)
        // SAFETY: unlink(2) only reads the path.
        unsafe unlink(path)
        let raw = socket.raw
        // The file gets the mode of the descriptor (net/unix/af_unix.c, unix_bind_bsd). umask(2) would change all
        // threads.
        try check("protect", path) { fchmod(raw, 0o600) }
        // SAFETY: bind(2) only reads the address, within its length, and the address outlives the call.
        try unsafe withAddress(path) { address, length throws(SystemError) in
            try check("bind", path) { unsafe bind(raw, address, length) }
        }
        try check("listen", path) { Glibc.listen(raw, backlog) }
        return socket
    }

    /// Connects to the socket at `path`. Blocks while its backlog is full.
    /// - Parameter limit: the longest time to block, which holds for writes too then (SO_SNDTIMEO, socket(7)).
    /// - Throws: `SystemError`, such as ENOENT without a socket at the path, or ECONNREFUSED when nothing listens on
    ///   it. EAGAIN after `limit`. ENAMETOOLONG as `listen`.
    package static func connect(_ path: String, _ kind: Kind = .stream, within limit: Duration? = nil)
        throws(SystemError) -> FileDescriptor
    {
        let socket = try make(kind, path)
        if let limit { setLimit(SO_SNDTIMEO, socket.raw, limit) }
        try connect(socket.raw, path)
        return socket
    }

    private static func connect(_ socket: Int32, _ path: String) throws(SystemError) {
        // SAFETY: connect(2) only reads the address, within its length, and the address outlives the call.
        try unsafe withAddress(path) { address, length throws(SystemError) in
            try check("connect to", path) { unsafe Glibc.connect(socket, address, length) }
        }
    }

    /// Whether the socket's file is there but no process listens. False when that can't be found out.
    package static func isAbandoned(_ path: String) -> Bool {
        // Tries twice: a process may have bound the socket and be about to listen.
        for pause: UInt32 in [0, 50_000] {
            usleep(pause)
            guard let socket = try? make(.stream, path) else { return false }
            // Non-blocking: a full backlog means that a process listens.
            _ = fcntl(socket.raw, F_SETFL, O_NONBLOCK)
            do { try connect(socket.raw, path) } catch  where error.code == ECONNREFUSED { continue } catch {}
            return false
        }
        return true
    }

    /// Sets the timeout of reads from a socket (SO_RCVTIMEO, socket(7)); nil: none.
    package static func setReadLimit(_ socket: Int32, _ limit: Duration?) { setLimit(SO_RCVTIMEO, socket, limit) }

    private static func setLimit(_ option: Int32, _ socket: Int32, _ limit: Duration?) {
        // Zero would mean no timeout.
        let parts = limit.map { max(.microseconds(1), $0).components } ?? (seconds: 0, attoseconds: 0)
        var time = timeval(tv_sec: Int(parts.seconds), tv_usec: Int(parts.attoseconds / 1_000_000_000_000))
        // SAFETY: setsockopt(2) only reads `time`, within its size.
        unsafe setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
    ) throws(SystemError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError("use socket path", path, errno: ENAMETOOLONG)
        }
        // SAFETY: the guard has checked that the path fits with its NUL.
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        // SAFETY: a sockaddr_un is a sockaddr of this length, and `address` outlives the call.
        let outcome: Result<Void, SystemError> = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                Result { () throws(SystemError) in try unsafe body(pointer, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        try outcome.get()
    }
}

/// Streams between VMs and their host (vsock(7)).
package enum Vsock {
    /// VMADDR_CID_HOST: the host, for a guest.
    package static let host: UInt32 = 2

    /// Connects to `port` of the host, or of the guest with the CID `machine`.
    /// - Throws: `SystemError` with the errno of socket(2) or connect(2), such as ECONNRESET when nothing listens on
    ///   the port.
    package static func connect(_ machine: UInt32 = host, port: UInt32) throws(SystemError) -> FileDescriptor {
        let peer = machine == host ? "host port \(port)" : "vsock port \(port) of guest \(machine)"
        return FileDescriptor(owning: try checkNegativeErrno("connect to", peer, clx_connect_vsock(machine, port)))
    }

    /// Opens the host's device for the guest with the CID `guest`, which is taken until the device is closed.
    /// - Throws: EADDRINUSE when another guest of this host has that number.
    package static func device(for guest: UInt32) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try checkNegativeErrno("take number \(guest) on", vhost, clx_vhost_vsock(guest)))
    }

    /// The device of vhost-vsock.
    package static let vhost = "/dev/vhost-vsock"

    /// A number that no guest of this host has.
    /// - Parameters:
    ///   - candidate: the number to try next.
    ///   - isTaken: whether a guest has that number; asks the device by default.
    package static func freeNumber(
        _ candidate: () -> UInt32, isTaken: (UInt32) -> Bool = { Vsock.isTaken($0) }
    ) -> UInt32 {
        var number = candidate()
        for _ in 1..<numbersToTry where isTaken(number) { number = candidate() }
        return number
    }

    package static func isTaken(_ number: UInt32) -> Bool {
        do throws(SystemError) {
            _ = try device(for: number)
            return false
        } catch { return error.code == EADDRINUSE }
    }

    /// Numbers have 31 bits: even on a full host the first one is free.
    private static let numbersToTry = 16
}

/// A pair of connected sockets for whole messages, one of them for another process; close-on-exec.
package struct SocketPair: ~Copyable, Sendable {
    package let ours: FileDescriptor
    package let theirs: FileDescriptor

    /// Makes the pair.
    /// - Throws: `SystemError` for lack of a descriptor or memory.
    package init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try check("make", "socket pair") {
            // SAFETY: `ends` has room for the two descriptors.
            unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | O_CLOEXEC, 0, &ends)
        }
        ours = FileDescriptor(owning: ends[0])
        theirs = FileDescriptor(owning: ends[1])
    }

    /// Closes the other end, so that a read here ends when the other process closes its own.
    package consuming func keepingOurs() -> FileDescriptor { ours }
    package consuming func keepingTheirs() -> FileDescriptor { theirs }
}

/// Passing descriptors between processes (SCM_RIGHTS).
extension FileDescriptor {
    /// Sends a message with descriptors.
    /// - Throws: `SystemError`: E2BIG for more than 16 descriptors; the errno of sendmsg(2), such as EPIPE when the
    ///   other end is closed.
    package func send(_ bytes: [UInt8], descriptors: [Int32]) throws(SystemError) {
        // SAFETY: the bytes and descriptors live until the call returns.
        let sent = unsafe bytes.withUnsafeBytes {
            unsafe clx_send_fds(raw, $0.baseAddress, $0.count, descriptors, descriptors.count)
        }
        try checkNegativeErrno("send descriptors on", "socket \(raw)", sent)
    }

    /// Sets the timeout of reads, `receive` included; nil: none.
    package func setReadLimit(_ limit: Duration?) { UnixSocket.setReadLimit(raw, limit) }

    /// Receives a message of at most `limit` bytes. No bytes mean that the other end is closed.
    /// - Returns: the bytes, and descriptors that the caller must close.
    /// - Throws: `SystemError` with the errno of recvmsg(2), such as EAGAIN after the timeout of `setReadLimit`.
    package func receive(limit: Int) throws(SystemError) -> (bytes: [UInt8], descriptors: [Int32]) {
        var descriptors = [Int32](repeating: -1, count: 8)
        var count = 0
        // SAFETY: the call writes at most `$0.count` bytes. `count` is the number of elements; it returns how many are set.
        let (bytes, got) = unsafe readBytes(upTo: limit) {
            count = descriptors.count
            return unsafe clx_recv_fds(raw, $0.baseAddress, $0.count, &descriptors, &count)
        }
        try checkNegativeErrno("read", "socket \(raw)", got)
        return (bytes, Array(descriptors[..<count]))
    }
}
