import Cleanup

/// Where a sandbox keeps its things on the host; the names are Kata's.
package struct SandboxPaths: Sendable, Equatable {
    package let sandbox: String
    /// Sockets, console log and pid files of the VM and its helpers.
    package var machine: String { "\(Ledger.machines)/\(sandbox)" }
    /// Of files that are written for as long as the sandbox lives, whatever it is called then; nil: `machine`.
    private var logs: String?
    package var qmp: String { machine + "/qmp.sock" }
    /// A file for each container whose poststop hooks have not run yet.
    package var dueHooks: String { Self.dueHooks(in: machine) }
    package static func dueHooks(in machine: String) -> String { machine + "/poststop" }
    package var console: String { (logs ?? machine) + "/console.log" }
    package var debugConsole: String { machine + "/debug-console.sock" }
    package var vsock: String { machine + "/vsock.sock" }
    package var virtiofs: String { machine + "/vhost-fs.sock" }
    package var shareLog: String { (logs ?? machine) + "/virtiofsd.log" }
    package var shareParent: String { "\(Ledger.shares)/\(sandbox)" }
    /// Where the host mounts what the guest may see.
    package var mounts: String { shareParent + "/mounts" }
    /// The same, as the guest gets it: it can't make or remove anything between the mounts.
    package var exported: String { shareParent + "/shared" }

    /// - Parameter logs: another path of the machine's directory, which stays right when that is renamed.
    package init(sandbox: String, logs: String? = nil) { (self.sandbox, self.logs) = (sandbox, logs) }

    package func sharedRootfs(of container: String) -> String { "\(mounts)/\(container)/rootfs" }

    /// A share of one host path: a name of its own.
    package func sharedMount(of container: String, index: Int, destination: String) -> String {
        let base = destination.split(separator: "/").last.map(String.init) ?? "root"
        return "\(mounts)/\(container)-\(index)-\(base)"
    }
}

/// Paths inside the guest, as Kata's agent expects them.
package enum GuestPaths {
    package static let share = "/run/kata-containers/shared/containers"
    package static let shareTag = "kataShared"
    package static func rootfs(of container: String) -> String { "\(share)/\(container)/rootfs" }

    /// Where a container's root is mounted that is a disk of its own.
    package static func rootDisk(of container: String) -> String { "/run/kata-containers/\(container)/rootfs" }

    /// Where a file system of a container's own disk is mounted.
    package static func disk(of container: String, index: Int) -> String {
        "/run/kata-containers/\(container)/disk\(index)"
    }

    /// Where the agent listens in the place of a socket of the host.
    package static func socket(of container: String, index: Int) -> String {
        "/run/kata-containers/\(container)/socket\(index)"
    }

    /// Where the guest mounts memory in the place of a file system of the host's.
    package static func memory(_ device: UInt64) -> String { "/run/kata-containers/sandbox/shm\(device)" }

    /// The guest's name of a path below the host's mounts.
    package static func path(of mounted: String, below mounts: String) -> String {
        share + mounted.dropFirst(mounts.count)
    }
}
