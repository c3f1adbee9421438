import CLinux
import Glibc

/// Small whole-file operations on state and kernel files.
package enum Files {
    /// Reads a whole file, at most `limit` bytes.
    package static func read(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY)
        return try file.readAll(path, limit: limit)
    }

    package static func readText(_ path: String) throws(SystemError) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// What is there; nil when it isn't, or isn't for us to read.
    /// - Throws: where there is no descriptor or memory left to look: then nothing is known, and nobody may act as if it weren't there.
    package static func find(_ path: String) throws(SystemError) -> [UInt8]? {
        do { return try read(path) } catch {
            guard [EMFILE, ENFILE, ENOMEM].contains(error.code) else { return nil }
            throw error
        }
    }

    /// Writes the whole of `bytes` to an existing or new file.
    package static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode).writeAll(bytes, to: path)
    }

    package static func write(_ path: String, _ text: String, mode: mode_t = 0o600) throws(SystemError) {
        try write(path, Array(text.utf8), mode: mode)
    }

    /// Replaces `path` in one step: readers see the old content or the new, also after a crash (rename(2)).
    package static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let temporary = path + ".new"
        // What is there was left by a crash, or put there by somebody else: a link would lead to another file (O_EXCL, open(2)).
        unlink(temporary)
        try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode).writeAll(bytes, to: temporary)
        try check("rename", temporary) { rename(temporary, path) }
    }

    package static func replace(_ path: String, _ text: String, mode: mode_t = 0o600) throws(SystemError) {
        try replace(path, Array(text.utf8), mode: mode)
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// In bytes; 0 where there is nothing.
    package static func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// `path` from the root on, without touching the file system beyond the working directory's name.
    package static func absolute(_ path: String) -> String {
        var names: [Substring] = []
        var directory = ""
        if !path.hasPrefix("/"), let current = getcwd(nil, 0) {
            directory = String(cString: current)
            free(current)
        }
        for name in (directory + "/" + path).split(separator: "/") where name != "." {
            if name == ".." { _ = names.popLast() } else { names.append(name) }
        }
        return "/" + names.joined(separator: "/")
    }

    /// The path without links and ".." (realpath(3)); nil if there is no such file.
    package static func real(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    /// The directory that an absolute path lies in; empty for the root.
    package static func parent(of path: String) -> String {
        path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
    }

    package static func isDirectory(_ path: String) -> Bool { kind(of: path) == .directory }

    /// What there may be at a path, as far as it matters to us.
    package enum Kind: Equatable, Sendable {
        case directory, file, blockDevice, socket, other
        case characterDevice(major: Int64, minor: Int64)
    }

    /// nil when there is nothing.
    package static func kind(of path: String) -> Kind? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
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

    /// A file system in memory that begins at a path, and holds nothing.
    package struct EmptyMemory: Equatable, Sendable {
        /// Its number: the same wherever it is mounted.
        package let device: UInt64
        /// How large it may become; nil: as the kernel lets it.
        package let bytes: UInt64?

        package init(device: UInt64, bytes: UInt64?) { (self.device, self.bytes) = (device, bytes) }
    }

    /// nil for anything else.
    package static func emptyMemory(at path: String) -> EmptyMemory? {
        var (status, system) = (stat(), statvfs())
        guard clx_is_mount_root(path) == 1, clx_is_memory(path) == 1, statvfs(path, &system) == 0,
            stat(path, &status) == 0, list(path).isEmpty
        else { return nil }
        let bytes = UInt64(system.f_blocks) * UInt64(system.f_frsize)
        return EmptyMemory(device: UInt64(status.st_dev), bytes: bytes > 0 ? bytes : nil)
    }

    package static func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    /// Where a symbolic link leads, as it is written.
    package static func link(_ path: String) throws(SystemError) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = try check("read link", path) {
            buffer.withUnsafeMutableBytes {
                readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
        }
        return String(decoding: buffer.prefix(Int(length)), as: UTF8.self)
    }

    /// Has the file system of `path` write what it holds back (syncfs(2)); nothing there is no error.
    package static func sync(_ path: String) {
        if let file = try? FileDescriptor.open(path, O_RDONLY) { _ = clx_sync(file.raw) }
    }

    /// Makes a directory and its missing parents.
    package static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws(SystemError) {
        if isDirectory(path) { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try makeDirectory(String(path[..<slash]), mode: mode)
        }
        if mkdir(path, mode) != 0 {
            let code = errno
            if code != EEXIST { throw SystemError("make directory", path, errno: code) }
        }
    }

    package static func list(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a tree of our own files. It never follows links, and stops at a mount point: what is mounted is not ours to
    /// delete. The device's number would not tell: a bind mount of the same file system has its parent's.
    package static func removeTree(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            if clx_is_mount_root(path) == 0 { unlink(path) }
            return
        }
        // Unknown is as good as mounted.
        guard clx_is_mount_root(path) == 0 else { return }
        for name in list(path) { removeTree(path + "/" + name) }
        rmdir(path)
    }
}
