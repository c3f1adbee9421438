import CLinux
import Glibc

/// A file that is looked up but not opened (O_PATH, open(2)): this neither touches a device nor waits for a FIFO.
///
/// `open` opens the same file, even when the path leads to another one by then.
package struct FoundFile: ~Copyable {
    package let path: String
    /// The result of fstat(2).
    package let facts: stat
    private let place: FileDescriptor

    /// Looks a file up, and follows links.
    /// - Throws: `SystemError` with the errno of open(2), such as ENOENT when it is missing.
    package init(_ path: String) throws(SystemError) {
        let place = try FileDescriptor.open(path, Int32(clx_open_path))
        facts = try place.facts(path)
        self.path = path
        self.place = place
    }

    /// S_IFREG, S_IFBLK and the like.
    package var kind: mode_t { facts.st_mode & S_IFMT }

    /// Opens the file.
    /// - Parameter flags: flags of open(2), without O_CREAT.
    /// - Throws: `SystemError` with the errno of open(2).
    package func open(_ flags: Int32) throws(SystemError) -> FileDescriptor {
        let link = "/proc/self/fd/\(place.raw)"
        // SAFETY: open(2) only reads the path; without O_CREAT it takes no mode.
        return FileDescriptor(owning: try check("open", path) { unsafe Glibc.open(link, flags | O_CLOEXEC) })
    }
}

extension FileDescriptor {
    /// The result of fstat(2).
    /// - Parameter object: names the file in an error.
    /// - Throws: `SystemError` with the errno of fstat(2).
    package func facts(_ object: String) throws(SystemError) -> stat {
        let raw = raw
        var facts = stat()
        // SAFETY: fstat(2) fills the whole structure.
        try check("look at", object) { unsafe fstat(raw, &facts) }
        return facts
    }

    /// Flags of the file's mount (statvfs(3)).
    /// - Returns: whether it is read-only, by its mount or its file system. Also the flags that forbid to execute
    ///   programs and to follow links.
    /// - Throws: `SystemError` with the errno of fstatvfs(3).
    package func mountFlags(_ object: String) throws(SystemError) -> (isReadOnly: Bool, others: UInt) {
        let raw = raw
        var facts = statvfs()
        // SAFETY: fstatvfs(3) fills the whole structure.
        try check("look at", object) { unsafe fstatvfs(raw, &facts) }
        // ST_NOSYMFOLLOW (linux/statfs.h), which Glibc's module doesn't have.
        return (facts.f_flag & UInt(ST_RDONLY) != 0, facts.f_flag & (UInt(MS_NOEXEC) | 0x2000))
    }
}
