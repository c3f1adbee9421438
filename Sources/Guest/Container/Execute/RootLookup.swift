import CLinux
import Glibc
import Linux

/// Finds paths below a container's root, which may hold hostile links, and makes what is missing.
///
/// Every step is opened with RESOLVE_IN_ROOT: whoever changes the tree meanwhile can't lead it outside (openat2(2)).
struct RootLookup {
    let root: Int32

    enum Missing { case fails, directory, file }

    /// - Returns: a descriptor with O_PATH.
    func open(_ path: String, missing: Missing) throws(SystemError) -> FileDescriptor {
        let whole = clx_open_in_root(root, path, Int32(clx_open_path), 0)
        if whole >= 0 { return FileDescriptor(owning: whole) }
        guard missing != .fails, whole == -ENOENT else { throw SystemError("open", path, errno: -whole) }
        let found = try walk(path, last: missing)
        return FileDescriptor(
            owning: try checkNegated("open", path, clx_open_in_root(root, found, Int32(clx_open_path), 0)))
    }

    /// Goes name by name, following links as the container would, making directories on the way.
    /// - Returns: the path without links.
    private func walk(_ path: String, last: Missing) throws(SystemError) -> String {
        var names = path.split(separator: "/").map(String.init)
        var done: [String] = []
        var links = 0
        while !names.isEmpty {
            let name = names.removeFirst()
            if name == "." { continue }
            if name == ".." {
                _ = done.popLast()
                continue
            }
            let parentPath = "/" + done.joined(separator: "/")
            let directory = FileDescriptor(
                owning: try checkNegated(
                    "open", parentPath, clx_open_in_root(root, parentPath, Int32(clx_open_path) | O_DIRECTORY, 0)))
            let parent = directory.raw
            var facts = stat()
            if fstatat(parent, name, &facts, Int32(AT_SYMLINK_NOFOLLOW)) == 0 {
                if facts.st_mode & S_IFMT == S_IFLNK {
                    links += 1
                    guard links <= 40 else { throw SystemError("follow", path, errno: ELOOP) }
                    var buffer = [UInt8](repeating: 0, count: 4096)
                    let length = try check("read link", path) {
                        buffer.withUnsafeMutableBytes {
                            readlinkat(parent, name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
                        }
                    }
                    let target = String(decoding: buffer[..<length], as: UTF8.self)
                    if target.hasPrefix("/") { done = [] }
                    names = target.split(separator: "/").map(String.init) + names
                    continue
                }
            } else {
                guard errno == ENOENT else { throw SystemError("look up", path, errno: errno) }
                let isFile = names.isEmpty && last == .file
                let made = isFile ? mknodat(parent, name, S_IFREG | 0o644, 0) : mkdirat(parent, name, 0o755)
                if made != 0, errno != EEXIST { throw SystemError("make mount point", path, errno: errno) }
            }
            done.append(name)
        }
        return "/" + done.joined(separator: "/")
    }
}
