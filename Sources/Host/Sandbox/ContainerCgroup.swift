import Cgroups
import Cleanup
import SandboxCgroups

/// The cgroup that a specification names for one container. It holds the container's process on the host, and limits
/// nothing. The container's limits apply in the guest, and the machine is in the sandbox's cgroup.
struct ContainerCgroup: Undoable {
    static let kind = "containerGroup"
    let path: String

    /// Removes it if it is empty: it may be a group of the manager's, with other processes.
    func undo() {
        guard path.hasPrefix("/"), path.count > 1, Ledger.isPlain(path) else { return }
        Cgroup(path).removeEmpty()
    }
}

extension Ledger.Entry {
    /// A container's cgroup, by its path below each hierarchy.
    static func containerCgroup(path: String) -> Self { Self(ContainerCgroup(path: path)) }
}
