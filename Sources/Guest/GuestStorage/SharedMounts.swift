import AgentAPI
import Glibc
import LinuxKernel
import Synchronization
import TTRPC

/// File systems in memory that several containers of a sandbox share. They are mounted for the first container, and
/// unmounted with the last or kept as long as the sandbox.
package final class SharedMounts: Sendable {
    private struct Users {
        var count = 0
        var isKept: Bool
    }

    /// By mount point.
    private let users = Mutex<[String: Users]>([:])

    package init() {}

    package static func isShared(_ storage: Grpc_Storage) -> Bool { storage.driver == StorageDriver.ephemeral }

    /// Adds a user; mounts the file system for the first one. Blocks for a moment only: the mount needs nothing of the
    /// host.
    /// - Throws: as `StorageMounter.mount`. Also `RPCError` with `invalidArgument` for a group that is no number, and
    ///   `SystemError` when the directory can't be given to its group.
    package func mount(_ storage: Grpc_Storage) throws {
        try users.withLock { users in
            if users[storage.mountPoint] == nil { try Self.make(storage) }
            users[storage.mountPoint, default: Users(isKept: storage.shared)].count += 1
        }
    }

    /// Removes a user.
    /// - Returns: whether the caller must unmount it: it has no other user, or was never shared.
    package func release(_ mountPoint: String) -> Bool {
        users.withLock { users in
            guard var left = users[mountPoint] else { return true }
            left.count -= 1
            let isUsed = left.count > 0 || left.isKept
            users[mountPoint] = isUsed ? left : nil
            return !isUsed
        }
    }

    private static func make(_ storage: Grpc_Storage) throws {
        var storage = storage
        let group = storage.options.last { $0.hasPrefix(StorageOption.group) }?.dropFirst(
            StorageOption.group.utf8.count)
        storage.options.removeAll { $0.hasPrefix(StorageOption.group) }
        try StorageMounter.mount(storage, hotPlugTimeout: .zero)
        guard let group else { return }
        let path = storage.mountPoint
        do {
            guard let group = UInt32(group) else {
                throw RPCError(.invalidArgument, "storage.options: \(StorageOption.group)\(group) is no group")
            }
            try give(path, to: group)
        } catch {
            Mounts.detach(path)
            throw error
        }
    }

    /// Gives a directory to a group, which passes to what is made in it (inode(7), set-group-ID).
    private static func give(_ path: String, to group: UInt32) throws(SystemError) {
        let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        let raw = directory.raw
        let mode = try directory.facts(path).st_mode & 0o7777
        try check("give", path) { fchown(raw, uid_t.max, group) }
        // Last: a change of the owner may clear the bit (chown(2)).
        try check("set mode of", path) { fchmod(raw, mode | S_ISGID) }
    }
}
