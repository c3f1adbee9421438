import CLinux
import Glibc
import LinuxKernel

/// The manager's ends of a process's streams.
package enum HostStream {
    /// Opens the manager's end of an output stream. A named fifo is opened for both directions: a reader that restarts
    /// (containerd, a log driver) sees no end of file then (fifo(7)). A pipe that another process holds is opened for
    /// writing alone: its end must be seen.
    /// - Throws: `SystemError` when the path can't be opened, or the process that holds the file has ended.
    package static func openOutput(_ address: String) throws(SystemError) -> FileDescriptor {
        let path = address.hasPrefix("file://") ? String(address.dropFirst(7)) : address
        var status = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure.
        let kind = unsafe stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
        if let shared = try share(path, kind) { return shared }
        let flags: Int32 =
            switch kind {
            case S_IFIFO where !path.hasPrefix("/proc/"): O_RDWR
            case S_IFREG: O_WRONLY | O_APPEND
            case 0 where path != address: O_WRONLY | O_CREAT | O_APPEND
            default: O_WRONLY | O_NOCTTY
            }
        return try FileDescriptor.open(path, flags | O_NONBLOCK, mode: 0o640)
    }

    /// Opens the manager's end of stdin; without blocking, even while no writer is there yet.
    /// - Throws: `SystemError` when the path can't be opened, or the process that holds the file has ended.
    package static func openInput(_ path: String) throws(SystemError) -> FileDescriptor {
        var status = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure.
        let kind = unsafe stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
        if let shared = try share(path, kind) { return shared }
        return try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    }

    /// A file or socket that the caller holds open as `/proc/<pid>/fd/<n>`: the same open file, so that its offset
    /// stays shared with every other writer. Pipes and terminals are opened again: their flags must not change under
    /// the caller.
    private static func share(_ path: String, _ kind: mode_t) throws(SystemError) -> FileDescriptor? {
        let parts = path.split(separator: "/")
        guard kind == S_IFREG || kind == S_IFSOCK, parts.count == 4, parts[0] == "proc", parts[2] == "fd",
            let pid = Int32(parts[1]), let number = Int32(parts[3])
        else { return nil }
        let process = FileDescriptor(owning: try checkNegativeErrno("find", path, clx_pidfd_open(pid)))
        return FileDescriptor(owning: try checkNegativeErrno("take over", path, clx_pidfd_getfd(process.raw, number)))
    }
}
