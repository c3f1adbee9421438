import LinuxKernel

/// Paths of one sandbox on the host; the names are Kata's.
package struct SandboxPaths: Sendable, Equatable {
    package let sandbox: String
    /// A prefix of every path; empty but in tests.
    private var root = ""
    /// Directory of sockets, console log and pid files of the VM and its helpers.
    package var machine: String { "\(root)\(Ledger.machines)/\(sandbox)" }
    /// Directory of files that are written for as long as the sandbox lives, also after it is renamed; nil: `machine`.
    private var logs: String?
    /// A file for each container whose poststop hooks have not run yet.
    package var dueHooks: String { Self.dueHooks(in: machine) }
    package static func dueHooks(in machine: String) -> String { machine + "/poststop" }
    package var console: String { (logs ?? machine) + "/console.log" }
    package var debugConsole: String { machine + "/debug-console.sock" }
    package var vsock: String { machine + "/vsock.sock" }
    package var virtiofs: String { machine + "/vhost-fs.sock" }
    package var shareLog: String { (logs ?? machine) + "/virtiofsd.log" }
    package var shareParent: String { "\(root)\(Ledger.shares)/\(sandbox)" }
    /// The directory in which the host mounts the guest's files.
    package var mounts: String { shareParent + "/mounts" }
    /// The same tree in the guest's view: the guest can't create or remove anything between the mounts.
    package var exported: String { shareParent + "/shared" }

    /// - Parameter logs: another path of the machine's directory, which remains right after a rename.
    package init(sandbox: String, logs: String? = nil, root: String = "") {
        (self.sandbox, self.logs, self.root) = (sandbox, logs, root)
    }

    package func sharedRootfs(of container: String) -> String { "\(mounts)/\(container)/rootfs" }

    /// The planned mount point of one shared host path: a unique name. The real one is a number (`SharedPaths`).
    package func sharedMount(of container: String, index: Int) -> String { "\(mounts)/\(container)-\(index)" }
}
