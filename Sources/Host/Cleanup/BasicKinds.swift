import Glibc
import LinuxKernel

extension Ledger {
    /// A process that may add to the ledger: while one lives, its sandbox does.
    struct Owner: Undoable {
        static let kind = "keeper"
        let id: ProcessIdentity

        var isProcess: Bool { true }
        func undo() { id.killUnlessSelf() }
    }

    /// A process of the sandbox; `name` is for messages.
    struct SandboxProcess: Undoable {
        static let kind = "process"
        let id: ProcessIdentity
        let name: String

        var isProcess: Bool { true }
        func undo() { id.killUnlessSelf() }
    }

    /// The top mount at a path in a mount namespace (`Mounts.namespace`), and its mount point if that lies below Kata's
    /// directories.
    struct Mount: Undoable {
        static let kind = "mount"
        let path: String
        let namespace: UInt64

        func undo() {
            // In another namespace the path may hold a foreign mount; ours ended with that namespace's last process.
            if namespace == Mounts.namespace { Mounts.detachLast(path) }
            // SAFETY: the calls only read the path.
            if Ledger.isOurs(path), unsafe unlink(path) != 0 { unsafe rmdir(path) }
        }

        func renamed(from old: String, to name: String) -> Mount? {
            Ledger.moved(path, from: old, to: name).map { Mount(path: $0, namespace: namespace) }
        }
    }

    /// A directory below Kata's directories with everything in it, except what is mounted there.
    struct Directory: Undoable {
        static let kind = "directory"
        let path: String

        var survivesRestart: Bool { true }
        func undo() { if Ledger.isOurs(path) { Files.removeTree(path) } }

        func renamed(from old: String, to name: String) -> Directory? {
            Ledger.moved(path, from: old, to: name).map { Directory(path: $0) }
        }
    }

    /// A Unix socket.
    struct Socket: Undoable {
        static let kind = "socket"
        let path: String

        var survivesRestart: Bool { true }

        func undo() {
            var facts = stat()
            // SAFETY: lstat(2) reads the path and fills the whole structure; unlink(2) only reads the path.
            if unsafe lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFSOCK { unsafe unlink(path) }
        }
    }

    /// A path below a sandbox's shares after the sandbox has got another name; nil for any other path.
    private static func moved(_ path: String, from old: String, to name: String) -> String? {
        let share = shares + "/" + old
        guard path == share || path.hasPrefix(share + "/") else { return nil }
        return shares + "/" + name + path.dropFirst(share.count)
    }
}

extension ProcessIdentity {
    fileprivate func killUnlessSelf() {
        if pid != getpid() { kill(within: Deadline.process.limit) }
    }
}

extension Ledger.Entry {
    /// A process that may add to the ledger: while one lives, its sandbox does.
    package static func owner(id: ProcessIdentity) -> Self { Self(Ledger.Owner(id: id)) }

    /// A process of the sandbox; `name` is for messages.
    package static func process(id: ProcessIdentity, name: String) -> Self {
        Self(Ledger.SandboxProcess(id: id, name: name))
    }

    /// The top mount at a path in the mount namespace with this identity (`Mounts.namespace`).
    package static func mount(path: String, namespace: UInt64) -> Self {
        Self(Ledger.Mount(path: path, namespace: namespace))
    }

    /// A directory below Kata's directories, with everything in it.
    package static func directory(path: String) -> Self { Self(Ledger.Directory(path: path)) }

    /// A Unix socket by its path.
    package static func socket(path: String) -> Self { Self(Ledger.Socket(path: path)) }
}
