import CLinux
import Glibc

/// A program of the kernel that gives a listening socket all connections to the loopback addresses of its network
/// namespace, whatever their port. Its type is BPF_PROG_TYPE_SK_LOOKUP (Documentation/bpf/prog_sk_lookup.rst; Linux
/// 5.9).
package enum LoopbackRedirection {
    /// Redirects connections to 127.0.0.1 and ::1 of the calling thread's network namespace.
    /// - Returns: a descriptor; the redirection ends when it is closed.
    /// - Throws: `SystemError` when the namespace can't be opened, or the kernel refuses the program or its link, such
    ///   as EPERM (bpf(2)).
    package static func start(to socket: borrowing FileDescriptor) throws(SystemError) -> FileDescriptor {
        let namespace = try FileDescriptor.open("/proc/thread-self/ns/net", O_RDONLY)
        return FileDescriptor(
            owning: try checkNegativeErrno(
                "redirect loopback connections to", "socket \(socket.raw)",
                clx_redirect_loopback(namespace.raw, socket.raw)))
    }
}

extension InternetSocket {
    /// Listens on a free port of the loopback addresses, for IPv6 and IPv4 with one socket where the network namespace
    /// has both.
    /// - Throws: `SystemError` with the errno of socket(2), bind(2) or listen(2) for IPv4, when IPv6 has failed too.
    package static func listenOnLoopback() throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try checkNegativeErrno("listen on", "loopback", clx_listen_loopback()))
    }

    /// The port of a TCP socket's own end; nil for another socket.
    package static func localPort(of socket: Int32) -> UInt16? {
        let port = clx_local_port(socket)
        return port < 0 ? nil : UInt16(port)
    }

    /// Sends small messages without waiting for more (TCP_NODELAY, tcp(7)).
    package static func sendAtOnce(_ socket: Int32) {
        var on: Int32 = 1
        // SAFETY: setsockopt(2) only reads `on`, within its size.
        unsafe setsockopt(
            socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Makes close(2) reset the connection (SO_LINGER with no time, socket(7)).
    package static func resetWhenClosed(_ socket: Int32) {
        var off = linger(l_onoff: 1, l_linger: 0)
        // SAFETY: setsockopt(2) only reads `off`, within its size.
        unsafe setsockopt(socket, SOL_SOCKET, SO_LINGER, &off, socklen_t(MemoryLayout<linger>.size))
    }
}
