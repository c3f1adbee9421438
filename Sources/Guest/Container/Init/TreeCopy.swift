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
        // SAFETY: the path is only read; `directory` takes `listing` over, and is closed once, after its last use.
        let listing = unsafe openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard listing >= 0 else { throw SystemError("list", "source", errno: errno) }
        guard let directory = unsafe fdopendir(listing) else {
            let code = errno
            close(listing)
            throw SystemError("list", "source", errno: code)
        }
        defer { unsafe closedir(directory) }
        while let entry = unsafe readdir(directory) {
            // SAFETY: d_name is an array of 256 bytes that ends with NUL (readdir(3)).
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { try copy(name, from: source, to: target, depth: depth) }
        }
    }

    private static func copy(_ name: String, from source: Int32, to target: Int32, depth: Int) throws(SystemError) {
        var facts = stat()
        // SAFETY: the calls only read the name; fstatat(2) fills the whole structure.
        try check("look at", name) { unsafe fstatat(source, name, &facts, Int32(AT_SYMLINK_NOFOLLOW)) }
        let permissions = facts.st_mode & 0o7777
        switch facts.st_mode & S_IFMT {
        case S_IFDIR:
            try check("make", name) { unsafe mkdirat(target, name, 0o700) }
            let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            let from = FileDescriptor(owning: try check("open", name) { unsafe openat(source, name, flags) })
            let to = FileDescriptor(owning: try check("open", name) { unsafe openat(target, name, flags) })
            try copy(from: from.raw, to: to.raw, depth: depth + 1)
        case S_IFREG:
            let from = FileDescriptor(
                owning: try check("open", name) { unsafe openat(source, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try check("make", name) {
                    unsafe openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
                }
            )
            var left = facts.st_size
            while left > 0 {
                let count = try check("copy", name) { sendfile(to.raw, from.raw, nil, Int(left)) }
                if count == 0 { break }
                left -= off_t(count)
            }
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: 4097)
            // SAFETY: readlinkat(2) writes at most 4096 of the 4097 bytes, so the text ends with NUL.
            try check("read link", name) { unsafe readlinkat(source, name, &buffer, 4096) }
            try check("make link", name) { unsafe symlinkat(buffer, target, name) }
        default: try check("make", name) { unsafe mknodat(target, name, facts.st_mode, facts.st_rdev) }
        }
        try check("set owner of", name) {
            unsafe fchownat(target, name, facts.st_uid, facts.st_gid, Int32(AT_SYMLINK_NOFOLLOW))
        }
        if facts.st_mode & S_IFMT != S_IFLNK { unsafe fchmodat(target, name, permissions, 0) }
        var times = [facts.st_atim, facts.st_mtim]
        // SAFETY: utimensat(2) reads the name and the two times.
        unsafe utimensat(target, name, &times, Int32(AT_SYMLINK_NOFOLLOW))
    }
}
