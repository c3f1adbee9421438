import Glibc

/// Sockets of IPv4 and IPv6 (ip(7), ipv6(7)), close-on-exec, in the calling thread's network namespace.
package enum InternetSocket {
    private static let backlog: Int32 = 16

    package enum Kind: Sendable { case datagrams, connections }

    /// - Parameters:
    ///   - address: an address in the form of inet_pton(3).
    ///   - act: calls bind(2) or connect(2).
    private static func make(
        _ kind: Kind, _ operation: String, _ address: String, _ port: UInt16,
        _ act: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemError) -> FileDescriptor {
        let (object, family) = ("\(address):\(port)", address.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET)
        let type = kind == .datagrams ? SOCK_DGRAM : SOCK_STREAM
        let socket = FileDescriptor(
            owning: try check("socket", object) { Glibc.socket(family, Int32(type.rawValue) | O_CLOEXEC, 0) })
        let raw = socket.raw
        let result: Int32?
        if family == AF_INET6 {
            var name = sockaddr_in6()
            (name.sin6_family, name.sin6_port) = (sa_family_t(family), port.bigEndian)
            // SAFETY: inet_pton(3) writes an address of this family, which is as long as the field. `name` outlives
            // `act`.
            let isAddress = unsafe inet_pton(family, address, &name.sin6_addr) == 1
            result = isAddress ? unsafe with(&name) { unsafe act(raw, $0, $1) } : nil
        } else {
            var name = sockaddr_in()
            (name.sin_family, name.sin_port) = (sa_family_t(family), port.bigEndian)
            let isAddress = unsafe inet_pton(family, address, &name.sin_addr) == 1
            result = isAddress ? unsafe with(&name) { unsafe act(raw, $0, $1) } : nil
        }
        let code = errno
        guard let result else { throw SystemError("use address", address, errno: EINVAL) }
        guard result == 0 || code == EINPROGRESS else { throw SystemError(operation, object, errno: code) }
        return socket
    }

    private static func with<Name>(_ name: inout Name, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        // SAFETY: a sockaddr_in or sockaddr_in6 is a sockaddr of its length, and `name` outlives the call.
        unsafe withUnsafePointer(to: &name) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<Name>.size))
            }
        }
    }

    /// Connects to a TCP port, and waits until it is done.
    /// - Throws: ETIMEDOUT when nobody has answered by then.
    package static func connect(to address: String, _ port: UInt16, by deadline: ContinuousClock.Instant)
        throws(SystemError) -> FileDescriptor
    {
        let socket = try connect(.connections, address, port)
        let (raw, object) = (socket.raw, "\(address):\(port)")
        guard isReady(raw, for: POLLOUT, by: deadline) else {
            throw SystemError("connect to", object, errno: ETIMEDOUT)
        }
        var (code, length) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        // SAFETY: getsockopt(2) writes at most `length` bytes, which is the size of `code`.
        try check("connect to", object) { unsafe getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length) }
        guard code == 0 else { throw SystemError("connect to", object, errno: code) }
        sendAtOnce(raw)
        return socket
    }

    /// Connects without waiting: a TCP connection may still be in progress, and the first write waits for it.
    /// - Throws: `SystemError`: EINVAL for a text that is no address; the errno of socket(2) or connect(2), such as
    ///   ENETUNREACH without a route.
    package static func connect(_ kind: Kind, _ address: String, _ port: UInt16) throws(SystemError) -> FileDescriptor {
        // SAFETY: connect(2) only reads the name, within its length.
        try unsafe make(kind, "connect to", address, port) { raw, name, length in
            if kind == .connections { _ = fcntl(raw, F_SETFL, O_NONBLOCK) }
            return unsafe Glibc.connect(raw, name, length)
        }
    }

    /// Binds a socket, and listens on it for connections.
    /// - Throws: `SystemError`: EINVAL for a text that is no address; the errno of socket(2), bind(2) or listen(2),
    ///   such as EADDRINUSE for a port that is taken.
    package static func bind(_ kind: Kind, _ address: String, _ port: UInt16) throws(SystemError) -> FileDescriptor {
        // SAFETY: setsockopt(2) and bind(2) only read `on` and the name, within their lengths.
        let socket = try unsafe make(kind, "listen at", address, port) { raw, name, length in
            var on: Int32 = 1
            unsafe setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
            return unsafe Glibc.bind(raw, name, length)
        }
        let raw = socket.raw
        if kind == .connections { try check("listen at", "\(address):\(port)") { Glibc.listen(raw, backlog) } }
        return socket
    }
}
