import CLinux
import Glibc

/// An open descriptor with one owner; it closes when the owner ends.
package struct FileDescriptor: ~Copyable, Sendable {
    package let raw: Int32

    package init(owning raw: Int32) { self.raw = raw }

    deinit { close(raw) }

    /// Gives the descriptor away: the caller closes it.
    package consuming func take() -> Int32 {
        let raw = raw
        discard self
        return raw
    }
}

extension FileDescriptor {
    /// Opens `path` with open(2); close-on-exec from birth.
    package static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(SystemError) -> FileDescriptor
    {
        FileDescriptor(owning: try check("open", path) { Glibc.open(path, flags | O_CLOEXEC, mode) })
    }

    package func duplicate() throws(SystemError) -> FileDescriptor {
        let raw = raw
        return FileDescriptor(owning: try check("duplicate descriptor", "\(raw)") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }
}

/// A pipe's two ends, close-on-exec.
package struct Pipe: ~Copyable, Sendable {
    package let readEnd: FileDescriptor
    package let writeEnd: FileDescriptor

    package init(nonBlocking: Bool = false) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try checkNegated("create", "pipe", clx_pipe(&ends, nonBlocking ? O_NONBLOCK : 0))
        readEnd = FileDescriptor(owning: ends[0])
        writeEnd = FileDescriptor(owning: ends[1])
    }
}
