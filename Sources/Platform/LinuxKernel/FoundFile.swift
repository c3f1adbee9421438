import CLinux
import Glibc

/// A file that is found by its path but not opened (O_PATH, open(2)): no device notices it, and no fifo makes the caller wait.
///
/// `open` opens this file, whatever is at the path by then.
package struct FoundFile: ~Copyable {
    package let path: String
    /// From fstat(2).
    package let facts: stat
    private let place: FileDescriptor

    package init(_ path: String) throws(SystemError) {
        let place = try FileDescriptor.open(path, Int32(clx_open_path))
        facts = try place.facts(path)
        self.path = path
        self.place = place
    }

    /// S_IFREG, S_IFBLK and their kin.
    package var kind: mode_t { facts.st_mode & S_IFMT }

    /// - Parameter flags: as for open(2), without those that make files.
    package func open(_ flags: Int32) throws(SystemError) -> FileDescriptor {
        let link = "/proc/self/fd/\(place.raw)"
        return FileDescriptor(owning: try check("open", path) { Glibc.open(link, flags | O_CLOEXEC) })
    }
}

extension FileDescriptor {
    /// What fstat(2) says.
    /// - Parameter object: what an error names.
    package func facts(_ object: String) throws(SystemError) -> stat {
        let raw = raw
        var facts = stat()
        try check("look at", object) { fstat(raw, &facts) }
        return facts
    }
}
