import Ledger

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
