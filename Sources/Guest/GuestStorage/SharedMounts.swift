import AgentAPI
import LinuxKernel
import Synchronization

/// File systems in memory that several containers of a sandbox see: mounted for the first that names one, gone with the last.
package final class SharedMounts: Sendable {
    private let users = Mutex<[String: Int]>([:])

    package init() {}

    package static func isShared(_ storage: Grpc_Storage) -> Bool { storage.driver == "ephemeral" }

    /// Blocks, though not for long: nothing of it comes from the host.
    package func mount(_ storage: Grpc_Storage) throws {
        try users.withLock { users in
            let before = users[storage.mountPoint, default: 0]
            if before == 0 { try StorageMounter.mount(storage, hotPlugTimeout: .zero) }
            users[storage.mountPoint] = before + 1
        }
    }

    /// - Returns: somebody else has it still, and so it stays.
    package func release(_ mountPoint: String) -> Bool {
        users.withLock { users in
            guard let count = users[mountPoint] else { return false }
            users[mountPoint] = count > 1 ? count - 1 : nil
            return count > 1
        }
    }
}
