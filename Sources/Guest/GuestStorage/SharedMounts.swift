import AgentAPI
import LinuxKernel
import Synchronization

/// File systems in memory that several containers of a sandbox share: mounted for the first container, unmounted with
/// the last.
package final class SharedMounts: Sendable {
    /// Containers that use a mount, by mount point.
    private let users = Mutex<[String: Int]>([:])

    package init() {}

    package static func isShared(_ storage: Grpc_Storage) -> Bool { storage.driver == StorageDriver.ephemeral }

    /// Adds a user; mounts the file system for the first one. Blocks for a moment only: the mount needs nothing of the
    /// host.
    package func mount(_ storage: Grpc_Storage) throws {
        try users.withLock { users in
            let before = users[storage.mountPoint, default: 0]
            if before == 0 { try StorageMounter.mount(storage, hotPlugTimeout: .zero) }
            users[storage.mountPoint] = before + 1
        }
    }

    /// Removes a user.
    /// - Returns: whether the caller must unmount it: it has no other user, or was never shared.
    package func release(_ mountPoint: String) -> Bool {
        users.withLock { users in
            guard let count = users[mountPoint] else { return true }
            users[mountPoint] = count > 1 ? count - 1 : nil
            return count <= 1
        }
    }
}
