import CLinux
import Glibc

/// An open network namespace, which lives at least as long as this object (network_namespaces(7)).
package final class NetworkNamespace: Sendable {
    private let descriptor: FileDescriptor

    private init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// - Throws: EINVAL when the path leads to something else.
    package static func open(_ path: String) throws(SystemError) -> NetworkNamespace {
        let descriptor = try FileDescriptor.open(path, O_RDONLY)
        guard clx_namespace_kind(descriptor.raw) == Int32(clx_new_net.rawValue) else {
            throw SystemError("use as network namespace", path, errno: EINVAL)
        }
        return NetworkNamespace(descriptor)
    }

    /// Makes a network namespace and moves the calling thread into it.
    /// - Throws: `SystemError` with the errno of unshare(2), such as EPERM without CAP_SYS_ADMIN. Also when /proc can't
    ///   be read; the thread has moved then.
    package static func make() throws(SystemError) -> NetworkNamespace {
        try checkNegativeErrno("make", "network namespace", clx_unshare(Int32(clx_new_net.rawValue)))
        return try open("/proc/thread-self/ns/net")
    }

    /// Moves the calling thread into the namespace. The thread must do nothing else afterwards.
    /// - Throws: `SystemError` with the errno of setns(2), such as EPERM without CAP_SYS_ADMIN.
    package func enter() throws(SystemError) {
        try checkNegativeErrno("enter", "network namespace", clx_setns(descriptor.raw, Int32(clx_new_net.rawValue)))
    }

    /// A path of the namespace for this process and its children.
    package var path: String { "/proc/\(getpid())/fd/\(descriptor.raw)" }

    /// The inode of the namespace; equal numbers mean the same namespace.
    package var identity: UInt64 {
        var facts = stat()
        // SAFETY: fstat(2) fills the structure; after a failure it is still zero.
        unsafe fstat(descriptor.raw, &facts)
        return UInt64(facts.st_ino)
    }
}
