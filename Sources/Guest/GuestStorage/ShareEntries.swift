import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// The host's mounts in the share, as far as containers use them.
///
/// The server announces each directory that the host has mounted: the guest's kernel mounts it as a file system with a
/// device number of its own once a path leads through it. That happens here, before a container gets its copy of the
/// mounts. Otherwise each container would have its own: with other inodes, whose sockets and locks are its own too.
package final class ShareEntries: Sendable {
    /// The number of containers' mounts, by the path of the host's mount in the share.
    private let users = Mutex<[String: Int]>([:])

    package init() {}

    /// The host's mounts that a container's root and sources lead to.
    package static func paths(root: String, sources: [String], share: String = GuestPaths.share) -> [String] {
        let prefix = share + "/"
        return [root].filter { $0.hasPrefix(prefix) }
            + sources.filter { $0.hasPrefix(prefix) }.map { source in
                prefix + source.dropFirst(prefix.utf8.count).prefix { $0 != "/" }
            }
    }

    /// Adds a user of each. Blocks until the host has answered.
    package func use(_ paths: [String]) {
        users.withLock { users in for path in paths { users[path, default: 0] += 1 } }
        // A file is no mount of its own: ENOTDIR. A path that is missing fails the mount that needs it.
        for path in Set(paths) { _ = try? FileDescriptor.open(path, Int32(clx_open_path) | O_DIRECTORY) }
    }

    /// Removes a user of each, and unmounts what has no other: the host may close its files then.
    /// - Returns: the paths that others still use.
    package func release(_ paths: [String]) -> [String] {
        users.withLock { users in
            Set(paths).sorted().filter { path in
                let left = (users[path] ?? 0) - paths.count { $0 == path }
                users[path] = left > 0 ? left : nil
                // With the lock: another container's mount comes after it, or keeps the path in use.
                if left <= 0 { Mounts.detachLast(path) }
                return left > 0
            }
        }
    }
}
