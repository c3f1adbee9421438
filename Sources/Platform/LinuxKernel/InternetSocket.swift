import Glibc

/// Sockets of IPv4 (ip(7)), close-on-exec, in the calling thread's network namespace.
package enum InternetSocket {
    private static let backlog: Int32 = 16

    package enum Kind: Sendable { case datagrams, connections }

    /// - Parameters:
    ///   - address: an IPv4 address in the form of inet_pton(3).
    ///   - act: calls bind(2) or connect(2).
    private static func make(
        _ kind: Kind, _ operation: String, _ address: String, _ port: UInt16,
        _ act: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemError) -> FileDescriptor {
        let object = "\(address):\(port)"
        let type = kind == .datagrams ? SOCK_DGRAM : SOCK_STREAM
        let socket = FileDescriptor(
            owning: try check("socket", object) { Glibc.socket(AF_INET, Int32(type.rawValue) | O_CLOEXEC, 0) })
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        guard unsafe inet_pton(AF_INET, address, &name.sin_addr) == 1 else {
            throw SystemError("use address", address, errno: EINVAL)
        }
        let raw = socket.raw
        // SAFETY: a sockaddr_in is a sockaddr of this length, and `name` outlives the call.
        let result = unsafe withUnsafePointer(to: &name) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe act(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 || errno == EINPROGRESS else { throw SystemError(operation, object, errno: errno) }
        return socket
    }

    /// Connects without waiting: a TCP connection may still be in progress, and the first write waits for it.
    package static func connect(_ kind: Kind, _ address: String, _ port: UInt16) throws(SystemError) -> FileDescriptor {
        try unsafe make(kind, "connect to", address, port) { raw, name, length in
            if kind == .connections { _ = fcntl(raw, F_SETFL, O_NONBLOCK) }
            return unsafe Glibc.connect(raw, name, length)
        }
    }

    /// Binds a socket, and listens on it for connections.
    package static func bind(_ kind: Kind, _ address: String, _ port: UInt16) throws(SystemError) -> FileDescriptor {
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
