import CLinux
import Glibc
import LinuxKernel

/// Copies a directory's content for `tmpcopyup`: a tmpfs starts with a copy of the directory it covers.
enum TreeCopy {
    private static let maxDepth = 64

    /// Copies between two open directories; follows no link.
    static func copy(from source: Int32, to target: Int32, depth: Int = 0) throws(SystemError) {
        guard depth < maxDepth else {
            throw SystemError("copy", "a directory \(maxDepth) levels deep", errno: ELOOP)
        }
        let listing = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard listing >= 0, let directory = fdopendir(listing) else {
            throw SystemError("list", "source", errno: errno)
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { try copy(name, from: source, to: target, depth: depth) }
        }
    }

    private static func copy(_ name: String, from source: Int32, to target: Int32, depth: Int) throws(SystemError) {
        var facts = stat()
        try check("look at", name) { fstatat(source, name, &facts, Int32(AT_SYMLINK_NOFOLLOW)) }
        let permissions = facts.st_mode & 0o7777
        switch facts.st_mode & S_IFMT {
        case S_IFDIR:
            try check("make", name) { mkdirat(target, name, 0o700) }
            let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            let from = FileDescriptor(owning: try check("open", name) { openat(source, name, flags) })
            let to = FileDescriptor(owning: try check("open", name) { openat(target, name, flags) })
            try copy(from: from.raw, to: to.raw, depth: depth + 1)
        case S_IFREG:
            let from = FileDescriptor(
                owning: try check("open", name) { openat(source, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try check("make", name) { openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) }
            )
            var left = facts.st_size
            while left > 0 {
                let count = try check("copy", name) { sendfile(to.raw, from.raw, nil, Int(left)) }
                if count == 0 { break }
                left -= off_t(count)
            }
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: 4097)
            try check("read link", name) { readlinkat(source, name, &buffer, 4096) }
            try check("make link", name) { symlinkat(buffer, target, name) }
        default: try check("make", name) { mknodat(target, name, facts.st_mode, facts.st_rdev) }
        }
        try check("set owner of", name) {
            fchownat(target, name, facts.st_uid, facts.st_gid, Int32(AT_SYMLINK_NOFOLLOW))
        }
        if facts.st_mode & S_IFMT != S_IFLNK { fchmodat(target, name, permissions, 0) }
        var times = [facts.st_atim, facts.st_mtim]
        utimensat(target, name, &times, Int32(AT_SYMLINK_NOFOLLOW))
    }
}
