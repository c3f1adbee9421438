import Cgroups
import Cleanup
import Glibc
import LinuxKernel
import SandboxCgroups

/// The cgroup that a specification names for one container. It holds the container's process on the host, and limits
/// nothing: the container's limits apply in the guest, and the machine is in the sandbox's cgroup.
struct ContainerCgroup: Undoable {
    static let kind = "containerGroup"
    let path: String

    /// Removes it if it is empty: it may be a group of the manager's, with other processes.
    func undo() {
        guard path.hasPrefix("/"), path.count > 1, Ledger.isPlain(path) else { return }
        for hierarchy in Hierarchies.current.all {
            // The kernel may need a moment to release a process that has exited.
            for _ in 0..<Self.attempts {
                // SAFETY: the call only reads the path.
                guard unsafe rmdir(hierarchy.path + path) != 0, errno == EBUSY else { break }
                usleep(Self.pauseMicroseconds)
            }
        }
    }

    private static let attempts = 20
    private static let pauseMicroseconds: UInt32 = 10_000
}

extension Ledger.Entry {
    /// A container's cgroup, by its path below each hierarchy.
    static func containerCgroup(path: String) -> Self { Self(ContainerCgroup(path: path)) }
}
