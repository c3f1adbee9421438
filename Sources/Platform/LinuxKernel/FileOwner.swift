import CLinux
import Glibc

/// Checks files that control this process: only root or the process's own user may be able to write them.
package enum FileOwner {
    /// Whether a user is root or this process's own.
    package static func isTrusted(_ user: UInt32) -> Bool { user == 0 || user == geteuid() }

    /// Opens a regular file for reading, without following a symbolic link.
    /// - Throws: EPERM when another user owns the file, or its mode lets others write; ELOOP for a link.
    package static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        try check(file, path, S_IFREG)
        return file
    }

    /// Checks a directory in the same way.
    /// - Throws: as `open`.
    package static func checkDirectory(_ path: String) throws(SystemError) {
        let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        try check(directory, path, S_IFDIR)
    }

    private static func check(_ file: borrowing FileDescriptor, _ path: String, _ kind: mode_t) throws(SystemError) {
        let facts = try file.facts(path)
        guard facts.st_mode & S_IFMT == kind, isTrusted(facts.st_uid), facts.st_mode & 0o022 == 0 else {
            throw SystemError("trust (it is not root's alone to write)", path, errno: EPERM)
        }
    }
}

extension FileDescriptor {
    /// The user at the other end of a connected Unix socket (SO_PEERCRED, unix(7)). On the client's side it is the
    /// listener's user.
    package var peer: UInt32? {
        var (user, group): (UInt32, UInt32) = (0, 0)
        // SAFETY: the call writes only to the two numbers.
        return unsafe clx_peer_identity(raw, &user, &group) == 0 ? user : nil
    }
}
