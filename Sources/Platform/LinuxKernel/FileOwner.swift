import CLinux
import Glibc

/// Files that decide what this process does: read only where root, or this process's own user, alone can write them.
package enum FileOwner {
    package static func isTrusted(_ user: UInt32) -> Bool { user == 0 || user == geteuid() }

    /// Opens a regular file for reading; a symbolic link is refused.
    /// - Throws: EPERM where its owner is another user, or its mode lets others write.
    package static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        try check(file.raw, path, S_IFREG)
        return file
    }

    /// - Throws: as `open`.
    package static func checkDirectory(_ path: String) throws(SystemError) {
        let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        try check(directory.raw, path, S_IFDIR)
    }

    private static func check(_ descriptor: Int32, _ path: String, _ kind: mode_t) throws(SystemError) {
        var facts = stat()
        try LinuxKernel.check("look at", path) { fstat(descriptor, &facts) }
        guard facts.st_mode & S_IFMT == kind, isTrusted(facts.st_uid), facts.st_mode & 0o022 == 0 else {
            throw SystemError("trust (it is not root's alone to write)", path, errno: EPERM)
        }
    }
}

extension FileDescriptor {
    /// The user at the other end of a connected Unix socket (SO_PEERCRED, unix(7)); of a connection that was made here, the one that listens.
    package var peer: UInt32? {
        var (user, group): (UInt32, UInt32) = (0, 0)
        return clx_peer_identity(raw, &user, &group) == 0 ? user : nil
    }
}
