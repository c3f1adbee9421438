import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// Where a process's standard streams lead on the host: paths of fifos, files or terminals; empty means nowhere.
package struct StreamPaths: Sendable, Equatable {
    package var stdin = ""
    package var stdout = ""
    package var stderr = ""
    package var terminal = false

    package init(stdin: String = "", stdout: String = "", stderr: String = "", terminal: Bool = false) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
    }
}

enum HostStream {
    /// Opens the manager's end of an output stream. A named fifo is opened for both directions, so that a reader that restarts
    /// (containerd, a log driver) sees no end of file (fifo(7)); a pipe that another process holds is not: its end must be seen.
    static func openOutput(_ address: String) throws(SystemError) -> FileDescriptor {
        let path = address.hasPrefix("file://") ? String(address.dropFirst(7)) : address
        var status = stat()
        let kind = stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
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
    static func openInput(_ path: String) throws(SystemError) -> FileDescriptor {
        var status = stat()
        let kind = stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
        if let shared = try share(path, kind) { return shared }
        return try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    }

    /// A file or socket that the caller holds open as `/proc/<pid>/fd/<n>`: the same open file, so that its offset stays shared
    /// with whoever else writes to it. Pipes and terminals are opened anew: their flags must not change under the caller.
    private static func share(_ path: String, _ kind: mode_t) throws(SystemError) -> FileDescriptor? {
        let parts = path.split(separator: "/")
        guard kind == S_IFREG || kind == S_IFSOCK, parts.count == 4, parts[0] == "proc", parts[2] == "fd",
            let pid = Int32(parts[1]), let number = Int32(parts[3])
        else { return nil }
        let process = FileDescriptor(owning: try checkNegativeErrno("find", path, clx_pidfd_open(pid)))
        return FileDescriptor(owning: try checkNegativeErrno("take over", path, clx_pidfd_getfd(process.raw, number)))
    }
}

/// Host ports that wait for a process's streams, each with the manager's end of it. A process that never comes gives them back:
/// whoever reads the other end must see that it is over.
final class ReservedStreams {
    var stdin: UInt32 = 0
    var stdout: UInt32 = 0
    var stderr: UInt32 = 0

    /// A descriptor until somebody takes it.
    private final class End: Sendable {
        private let descriptor: Mutex<FileDescriptor?>
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = Mutex(descriptor) }
        func take() -> FileDescriptor? { descriptor.withLock { $0.take() } }
    }

    private let dialer: any GuestDialer
    private var reserved: [(port: UInt32, end: End)] = []

    init(_ dialer: any GuestDialer) { self.dialer = dialer }

    /// Listens for one connection. `join` gets the manager's end and the guest's.
    func reserve(
        _ port: UInt32, _ descriptor: consuming FileDescriptor,
        _ join: @escaping @Sendable (consuming FileDescriptor, consuming FileDescriptor) -> Void
    ) throws -> UInt32 {
        let end = End(descriptor)
        reserved.append((port, end))
        try dialer.listen(port: port) { [dialer] socket in
            dialer.stopListening(port: port)
            let socket = FileDescriptor(owning: socket)
            if let descriptor = end.take() { join(descriptor, socket) }
        }
        return port
    }

    func cancel() {
        for (port, end) in reserved {
            dialer.stopListening(port: port)
            _ = end.take()
        }
    }
}
