import Glibc
import Linux

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
    static func openOutput(_ address: String) throws(SystemError) -> Int32 {
        let path = address.hasPrefix("file://") ? String(address.dropFirst(7)) : address
        var status = stat()
        let kind = stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
        let flags: Int32 =
            switch kind {
            case S_IFIFO where !path.hasPrefix("/proc/"): O_RDWR
            case S_IFREG: O_WRONLY | O_APPEND
            case 0 where path != address: O_WRONLY | O_CREAT | O_APPEND
            default: O_WRONLY | O_NOCTTY
            }
        return try FileDescriptor.open(path, flags | O_NONBLOCK, mode: 0o640).take()
    }

    /// Opens the manager's end of stdin; without blocking, even while no writer is there yet.
    static func openInput(_ path: String) throws(SystemError) -> Int32 {
        try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).take()
    }
}
