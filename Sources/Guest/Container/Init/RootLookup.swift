import CLinux
import Glibc
import LinuxKernel

/// Finds paths below a container's root, which may hold hostile links, and makes what is missing.
///
/// Every step is opened with RESOLVE_IN_ROOT, so a concurrent change of the tree can't lead outside (openat2(2)).
struct RootLookup {
    let root: Int32

    /// The kernel's maximum of links in a path (path_resolution(7)).
    private static let maxLinks = 40
    private static let maxLinkLength = 4096

    enum Missing { case fails, directory, file }
    enum Links { case followed, refused }

    /// - Returns: a descriptor with O_PATH; nil when nothing is there.
    func find(_ path: String, links: Links = .followed) throws(SystemError) -> FileDescriptor? {
        let found = descriptor(path, links)
        if found >= 0 { return FileDescriptor(owning: found) }
        guard [-ENOENT, -ENOTDIR].contains(found) else { throw SystemError("open", path, errno: -found) }
        return nil
    }

    /// - Returns: a descriptor with O_PATH.
    func open(_ path: String, missing: Missing, links: Links = .followed) throws(SystemError) -> FileDescriptor {
        let whole = descriptor(path, links)
        if whole >= 0 { return FileDescriptor(owning: whole) }
        guard missing != .fails, whole == -ENOENT else { throw SystemError("open", path, errno: -whole) }
        let found = try walk(path, last: missing, links)
        return FileDescriptor(owning: try checkNegativeErrno("open", path, descriptor(found, links)))
    }

    /// Permissions of the file at a path; nil when there is none.
    func permissions(of path: String) throws(SystemError) -> mode_t? {
        guard let found = try find(path) else { return nil }
        return FileFacts(found.raw)?.permissions
    }

    /// Says why a path is no ordinary directory: `/proc is a symbolic link to /vol/p`.
    func unavailableReason(of path: String) -> String {
        var place = ""
        for name in path.split(separator: "/") {
            place += "/" + name
            // SAFETY: the call only reads the path.
            let found = unsafe clx_open_plainly(root, place, Int32(clx_open_path) | O_NOFOLLOW)
            guard found >= 0 else { return "\(place): \(SystemError.text(of: -found))" }
            let descriptor = FileDescriptor(owning: found)
            switch FileFacts(descriptor.raw)?.type {
            case S_IFDIR: continue
            case S_IFLNK: return "\(place) is a symbolic link to \((try? link(descriptor.raw, "", place)) ?? "?")"
            default: return "\(place) is a file"
            }
        }
        return "\(path) was changed meanwhile"
    }

    private func descriptor(_ path: String, _ links: Links) -> Int32 {
        // SAFETY: the calls only read the path.
        switch links {
        case .followed: unsafe clx_open_in_root(root, path, Int32(clx_open_path), 0)
        case .refused: unsafe clx_open_plainly(root, path, Int32(clx_open_path))
        }
    }

    private func link(_ directory: Int32, _ name: String, _ path: String) throws(SystemError) -> String {
        var buffer = [UInt8](repeating: 0, count: Self.maxLinkLength)
        // SAFETY: readlinkat(2) writes at most `$0.count` bytes, and only those are used; the buffer isn't empty.
        let length = try check("read link", path) {
            unsafe buffer.withUnsafeMutableBytes {
                unsafe readlinkat(directory, name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
        }
        return String(decoding: buffer[..<length], as: UTF8.self)
    }

    /// Walks name by name: follows links as the container would, and makes missing directories.
    /// - Returns: the path without links.
    private func walk(_ path: String, last: Missing, _ links: Links) throws(SystemError) -> String {
        var names = path.split(separator: "/").map(String.init)
        var done: [String] = []
        var followed = 0
        while !names.isEmpty {
            let name = names.removeFirst()
            if name == "." { continue }
            if name == ".." {
                _ = done.popLast()
                continue
            }
            let parentPath = "/" + done.joined(separator: "/")
            // SAFETY: the call only reads the path.
            let directory = unsafe FileDescriptor(
                owning: try checkNegativeErrno(
                    "open", parentPath, clx_open_in_root(root, parentPath, Int32(clx_open_path) | O_DIRECTORY, 0)))
            let parent = directory.raw
            var facts = stat()
            // SAFETY: the calls only read the name; fstatat(2) fills the whole structure, which is used only then.
            if unsafe fstatat(parent, name, &facts, Int32(AT_SYMLINK_NOFOLLOW)) == 0 {
                if facts.st_mode & S_IFMT == S_IFLNK {
                    followed += 1
                    guard links == .followed, followed <= Self.maxLinks else {
                        throw SystemError("follow", path, errno: ELOOP)
                    }
                    let target = try link(parent, name, path)
                    if target.hasPrefix("/") { done = [] }
                    names = target.split(separator: "/").map(String.init) + names
                    continue
                }
            } else {
                guard errno == ENOENT else { throw SystemError("look up", path, errno: errno) }
                let isFile = names.isEmpty && last == .file
                let failure = Self.make(name, in: directory, isFile: isFile)
                if failure != 0, failure != EEXIST { throw SystemError("make mount point", path, errno: failure) }
            }
            done.append(name)
        }
        return "/" + done.joined(separator: "/")
    }

    /// Makes a directory or an empty file.
    ///
    /// A directory that its owner may not write to, such as the roots of CRI-O (mode 0555), is writable meanwhile. The
    /// root of a user namespace needs that on files of the host: their server takes it for an ordinary user.
    /// - Returns: errno; 0 when it is made.
    private static func make(_ name: String, in directory: borrowing FileDescriptor, isFile: Bool) -> Int32 {
        let parent = directory.raw
        func attempt() -> Int32 {
            // SAFETY: the calls only read the name.
            let made = unsafe isFile ? mknodat(parent, name, S_IFREG | 0o644, 0) : mkdirat(parent, name, 0o755)
            return made == 0 ? 0 : errno
        }
        let failure = attempt()
        guard failure == EACCES, let mode = FileFacts(parent)?.permissions else { return failure }
        let path = directory.name
        // SAFETY: chmod(2) only reads the path.
        guard unsafe chmod(path, mode | S_IWUSR | S_IXUSR) == 0 else { return failure }
        // SAFETY: as above.
        defer { unsafe chmod(path, mode) }
        return attempt()
    }
}

/// The attributes of an open file (fstat(2)).
struct FileFacts: Equatable {
    /// S_IFDIR and its kin.
    let type: mode_t
    let permissions: mode_t
    /// The number of a device node; 0:0 for other files.
    let number: DeviceNumber
    private let file: [UInt64]
    /// The number of the file system.
    var device: UInt64 { file[0] }

    /// nil for a descriptor that is not open.
    init?(_ descriptor: Int32) {
        var facts = stat()
        // SAFETY: fstat(2) fills the whole structure.
        guard unsafe fstat(descriptor, &facts) == 0 else { return nil }
        (type, permissions) = (facts.st_mode & S_IFMT, facts.st_mode & 0o7777)
        number = DeviceNumber(UInt64(facts.st_rdev))
        file = [UInt64(facts.st_dev), UInt64(facts.st_ino)]
    }

    /// Whether both are the same file.
    func isSame(as other: FileFacts) -> Bool { file == other.file }
}

/// Tells files of proc(5) and sysfs(5) from others. It asks once for each file system: a shared one asks the host.
final class KernelFiles {
    private var answers: [UInt64: Bool] = [:]
    private let ask: (Int32) -> Bool

    /// - Parameter ask: asks the kernel; tests count the questions.
    init(ask: @escaping (Int32) -> Bool = { clx_is_kernel_file($0) == 1 }) { self.ask = ask }

    func contains(_ file: borrowing FileDescriptor) -> Bool {
        guard let device = FileFacts(file.raw)?.device else { return false }
        if let answer = answers[device] { return answer }
        let answer = ask(file.raw)
        answers[device] = answer
        return answer
    }
}

extension FileDescriptor {
    /// A path of the open file, as long as /proc is the guest's own.
    var name: String { "/proc/self/fd/\(raw)" }
}
