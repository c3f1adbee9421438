import CLinux
import Glibc

/// A regular file, open for reading, so that the file that is checked is the file that is used.
package struct OpenFile: Sendable, Equatable {
    /// The path as given, for messages.
    package let path: String
    /// nil for a file that is named but not opened.
    package let file: SharedDescriptor?
    /// The size in bytes.
    package let size: Int
    /// Size, time of the last change and inode as text: it differs for another file, and for a changed one.
    package let identity: String
    /// Whether the mode lets any user read the file, whatever its directories allow.
    package let isReadableByAll: Bool

    /// Names a file without opening it, for a plan.
    package init(named path: String) {
        (self.path, file, size, identity, isReadableByAll) = (path, nil, 0, "missing", true)
    }

    /// Opens a file.
    /// - Parameter followsLinks: false: a link anywhere in `path` is an error.
    /// - Throws: EINVAL for anything but a regular file; ELOOP for a link.
    package init(_ path: String, followsLinks: Bool = true) throws(SystemError) {
        guard let real = followsLinks ? Files.real(path) : path else { throw SystemError("open", path, errno: errno) }
        // O_NONBLOCK: open(2) would block on a FIFO.
        let flags = O_RDONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW
        // SAFETY: the call only reads the path.
        unsafe try self.init(
            SharedDescriptor(
                FileDescriptor(owning: try checkNegativeErrno("open", path, clx_open_without_links(real, flags)))), path
        )
    }

    private init(_ file: SharedDescriptor, _ path: String) throws(SystemError) {
        let facts = try file.descriptor.facts(path)
        guard facts.st_mode & S_IFMT == S_IFREG else {
            throw SystemError("use (it is no regular file)", path, errno: EINVAL)
        }
        (self.path, self.file, size) = (path, file, Int(facts.st_size))
        identity = "\(facts.st_size) \(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec) \(facts.st_ino)"
        isReadableByAll = facts.st_mode & S_IROTH != 0
    }

    package static func == (left: OpenFile, right: OpenFile) -> Bool { left.path == right.path }
}

extension OpenFile {
    /// Copies the file to memory that no process can change and any user may read (memfd_create(2), sealed). The copy
    /// keeps path and identity.
    /// - Parameter limit: maximum size in bytes.
    /// - Throws: EFBIG for a larger file.
    package func sealedCopy(limit: Int) throws(SystemError) -> OpenFile {
        guard let source = file?.raw else { throw SystemError("copy (it is not open)", path, errno: EBADF) }
        // SAFETY: the call only reads the name.
        let copy = FileDescriptor(
            owning: try checkNegativeErrno("make", "copy of \(path)", unsafe clx_memory_file("boot")))
        var offset: off_t = 0
        while true {
            // SAFETY: sendfile(2) changes no memory of this process but `offset`.
            let count = try check("copy", path) { unsafe sendfile(copy.raw, source, &offset, 16 << 20) }
            if count == 0 { break }
            guard Int(offset) <= limit else { throw SystemError("copy", path, errno: EFBIG) }
        }
        try checkNegativeErrno("seal", "copy of \(path)", clx_seal_contents(copy.raw))
        let readable = try FileDescriptor.open("/proc/self/fd/\(copy.raw)", O_RDONLY)
        return OpenFile(copy: SharedDescriptor(readable), of: self)
    }

    private init(copy: SharedDescriptor, of original: OpenFile) {
        (path, file, size) = (original.path, copy, original.size)
        (identity, isReadableByAll) = (original.identity, true)
    }
}
