import CLinux
import Glibc

/// Small whole-file operations on state and kernel files.
package enum Files {
    /// Reads a whole file, at most `limit` bytes.
    /// - Throws: `SystemError` when the file can't be opened or read; EFBIG for more than `limit` bytes.
    package static func read(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY)
        return try file.readAll(path, limit: limit)
    }

    /// Reads a whole file of at most 16 MiB as UTF-8. Bytes that are not valid become U+FFFD.
    /// - Throws: as `read`.
    package static func readText(_ path: String) throws(SystemError) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// Reads a file that may be missing.
    /// - Returns: nil when it is missing or not readable for this process.
    /// - Throws: for lack of a descriptor or memory: the file may exist then.
    package static func find(_ path: String) throws(SystemError) -> [UInt8]? {
        do { return try read(path) } catch {
            guard [EMFILE, ENFILE, ENOMEM].contains(error.code) else { return nil }
            throw error
        }
    }

    /// Writes the whole of `bytes` to an existing or new file.
    /// - Throws: `SystemError` with the errno of open(2) or write(2). The file may have a part of the bytes then.
    package static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode).writeAll(bytes, to: path)
    }

    /// Writes a text to an existing or new file, in UTF-8.
    /// - Throws: as the call with bytes.
    package static func write(_ path: String, _ text: String, mode: mode_t = 0o600) throws(SystemError) {
        try write(path, Array(text.utf8), mode: mode)
    }

    /// Replaces `path` in one step: readers see the old content or the new, also after a crash (rename(2)).
    /// - Throws: `SystemError` when the new file can't be made, written or renamed. `path` has its old content then.
    package static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let temporary = path + ".new"
        // Removes what a crash has left. O_EXCL below refuses a link that another process puts there (open(2)).
        // SAFETY: unlink(2) and rename(2) only read the paths.
        unsafe unlink(temporary)
        try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode).writeAll(bytes, to: temporary)
        try check("rename", temporary) { unsafe rename(temporary, path) }
    }

    /// Replaces `path` in one step with a text in UTF-8.
    /// - Throws: as the call with bytes.
    package static func replace(_ path: String, _ text: String, mode: mode_t = 0o600) throws(SystemError) {
        try replace(path, Array(text.utf8), mode: mode)
    }

    // SAFETY: access(2) only reads the path.
    package static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// The size of a file in bytes; 0 when it is missing.
    package static func size(of path: String) -> Int {
        var status = stat()
        // SAFETY: stat(2) fills the whole structure, which is used only after success.
        return unsafe stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// The absolute form of `path`, computed from its names and the working directory alone.
    package static func absolute(_ path: String) -> String {
        var names: [Substring] = []
        var directory = ""
        // SAFETY: getcwd(3) has allocated the name for its caller.
        if !path.hasPrefix("/"), let current = unsafe getcwd(nil, 0) {
            directory = unsafe String(cString: current)
            unsafe free(current)
        }
        for name in (directory + "/" + path).split(separator: "/") where name != "." {
            if name == ".." { _ = names.popLast() } else { names.append(name) }
        }
        return "/" + names.joined(separator: "/")
    }

    /// The path without links and ".." (realpath(3)); nil if there is no such file.
    package static func real(_ path: String) -> String? {
        // SAFETY: realpath(3) has allocated the name for its caller.
        guard let real = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }

    /// The directory that an absolute path lies in; empty for the root.
    package static func parent(of path: String) -> String {
        path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
    }

    /// The last name of a path; empty for the root.
    package static func name(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? "" }

    package static func isDirectory(_ path: String) -> Bool { kind(of: path) == .directory }

    /// The type of a file.
    package enum Kind: Equatable, Sendable {
        case directory, file, blockDevice, socket, other
        case characterDevice(major: Int64, minor: Int64)
    }

    /// The type of the file at a path, behind links; nil when it is missing.
    package static func kind(of path: String) -> Kind? {
        var status = stat()
        // SAFETY: stat(2) fills the whole structure, which is used only after success.
        guard unsafe stat(path, &status) == 0 else { return nil }
        return switch status.st_mode & S_IFMT {
        case S_IFDIR: .directory
        case S_IFREG: .file
        case S_IFBLK: .blockDevice
        case S_IFSOCK: .socket
        case S_IFCHR: characterDevice(DeviceNumber(UInt64(status.st_rdev)))
        default: .other
        }
    }

    private static func characterDevice(_ number: DeviceNumber) -> Kind {
        .characterDevice(major: Int64(number.major), minor: Int64(number.minor))
    }

    /// Whether a path is one of proc(5).
    package static func isProc(_ path: String) -> Bool {
        // SAFETY: the call only reads the path.
        unsafe clx_is_proc(path) == 1
    }

    package static func isLink(_ path: String) -> Bool {
        var status = stat()
        // SAFETY: lstat(2) fills the whole structure, which is used only after success.
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    /// The target of a symbolic link, as written (readlink(2)).
    /// - Throws: `SystemError` with the errno of readlink(2), such as EINVAL for anything but a link.
    package static func link(_ path: String) throws(SystemError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = try check("read link", path) {
            // SAFETY: readlink(2) writes at most `count` bytes.
            unsafe buffer.withUnsafeMutableBytes {
                unsafe readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
        }
        return String(decoding: buffer.prefix(Int(length)), as: UTF8.self)
    }

    /// Writes the cached data of the file system of `path` to disk (syncfs(2)). A missing path is no error.
    package static func sync(_ path: String) {
        if let file = try? FileDescriptor.open(path, O_RDONLY) { _ = clx_sync(file.raw) }
    }

    /// Makes a directory and its missing parents.
    /// - Throws: `SystemError` with the errno of mkdir(2). A directory that is there already is no error.
    package static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws(SystemError) {
        if isDirectory(path) { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try makeDirectory(String(path[..<slash]), mode: mode)
        }
        // SAFETY: mkdir(2) only reads the path.
        if unsafe mkdir(path, mode) != 0 {
            let code = errno
            if code != EEXIST || !isDirectory(path) { throw SystemError("make directory", path, errno: code) }
        }
    }

    /// The names in a directory, sorted; none where it can't be read.
    package static func list(_ path: String) -> [String] { (try? names(in: path)) ?? [] }

    /// The names in a directory, sorted; none where there is no such directory.
    /// - Throws: as `names(in:)`.
    package static func names(ifPresent path: String) throws(SystemError) -> [String] {
        do { return try names(in: path) } catch {
            guard error.code == ENOENT else { throw error }
            return []
        }
    }

    /// The names in a directory, sorted.
    /// - Throws: the errors of opendir(3) and readdir(3). A caller that copies or removes all of a directory needs them.
    package static func names(in path: String) throws(SystemError) -> [String] {
        // SAFETY: opendir(3) only reads the path; the directory is closed once, after its last use.
        guard let directory = unsafe opendir(path) else { throw SystemError("list", path, errno: errno) }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(directory) else {
                guard errno == 0 else { throw SystemError("list", path, errno: errno) }
                break
            }
            // SAFETY: d_name is an array of 256 bytes that ends with NUL (readdir(3)); the directory is open.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a directory tree. Never follows links, and leaves mount points and everything below them.
    ///
    /// Compares no device numbers: a bind mount of the same file system has the number of its parent.
    package static func removeTree(_ path: String) {
        var status = stat()
        // SAFETY: lstat(2) fills the whole structure, which is used only after success. The other calls only read the
        // path.
        guard unsafe lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            if unsafe clx_is_mount_root(path) == 0 { unsafe unlink(path) }
            return
        }
        // Leaves the directory also when this can't be found out.
        guard unsafe clx_is_mount_root(path) == 0 else { return }
        for name in list(path) { removeTree(path + "/" + name) }
        unsafe rmdir(path)
    }
}
