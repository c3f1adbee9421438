import CLinux
import Glibc

/// Unix-domain sockets, close-on-exec from birth.
package enum UnixSocket {
    /// Binds and listens; a stale file at `path` is replaced. Mode 0600 (unix(7)).
    package static func listen(_ path: String, backlog: Int32 = 128) throws(SystemError) -> FileDescriptor {
        let socket = FileDescriptor(
            owning: try check("socket", path) { Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0) })
        unlink(path)
        let raw = socket.raw
        let mask = umask(0o177)
        defer { umask(mask) }
        try withAddress(path) { address, length throws(SystemError) in
            try check("bind", path) { bind(raw, address, length) }
        }
        try check("listen", path) { Glibc.listen(raw, backlog) }
        return socket
    }

    package static func connect(_ path: String) throws(SystemError) -> FileDescriptor {
        let socket = FileDescriptor(
            owning: try check("socket", path) { Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0) })
        let raw = socket.raw
        try withAddress(path) { address, length throws(SystemError) in
            try check("connect to", path) { Glibc.connect(raw, address, length) }
        }
        return socket
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
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let outcome: Result<Void, SystemError> = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                Result { () throws(SystemError) in try body(pointer, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        try outcome.get()
    }
}

/// Passing descriptors between processes (SCM_RIGHTS).
extension FileDescriptor {
    package func send(_ bytes: [UInt8], descriptors: [Int32]) throws(SystemError) {
        let sent = bytes.withUnsafeBytes { clx_send_fds(raw, $0.baseAddress, $0.count, descriptors, descriptors.count) }
        try checkNegated("send descriptors on", "socket \(raw)", sent)
    }
}
