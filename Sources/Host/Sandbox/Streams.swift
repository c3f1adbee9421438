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
    /// Opens the manager's end of an output stream. A fifo is opened for both directions, so that a reader that restarts
    /// (containerd, a log driver) sees no end of file (fifo(7)).
    static func openOutput(_ address: String) throws(SystemError) -> Int32 {
        let path = address.hasPrefix("file://") ? String(address.dropFirst(7)) : address
        var status = stat()
        let fifo = stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
        let flags =
            fifo ? O_RDWR | O_NONBLOCK : O_WRONLY | O_NONBLOCK | O_NOCTTY | (path == address ? 0 : O_CREAT | O_APPEND)
        return try FileDescriptor.open(path, flags, mode: 0o640).take()
    }

    /// Opens the manager's end of stdin; without blocking, even while no writer is there yet.
    static func openInput(_ path: String) throws(SystemError) -> Int32 {
        try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).take()
    }
}
