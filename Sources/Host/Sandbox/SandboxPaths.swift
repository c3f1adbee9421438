/// Where a sandbox keeps its things on the host; the names are Kata's.
package struct SandboxPaths: Sendable, Equatable {
    package let sandbox: String
    /// Sockets, console log and pid files of the VM and its helpers.
    package var machine: String { "/run/vc/vm/\(sandbox)" }
    package var qmp: String { machine + "/qmp.sock" }
    package var networkLedger: String { machine + "/network.json" }
    package var console: String { machine + "/console.log" }
    package var vsock: String { machine + "/vsock.sock" }
    package var virtiofs: String { machine + "/vhost-fs.sock" }
    /// Root of what the guest may see of the host.
    package var shareParent: String { "/run/kata-containers/shared/sandboxes/\(sandbox)" }
    package var share: String { shareParent + "/shared" }

    package init(sandbox: String) { self.sandbox = sandbox }

    package func sharedRootfs(of container: String) -> String { "\(share)/\(container)/rootfs" }

    /// A share of one host path: a name of its own below the exported directory.
    package func sharedMount(of container: String, index: Int, destination: String) -> String {
        let base = destination.split(separator: "/").last.map(String.init) ?? "root"
        return "\(share)/\(container)-\(index)-\(base)"
    }
}

/// Paths inside the guest, as Kata's agent expects them.
package enum GuestPaths {
    package static let share = "/run/kata-containers/shared/containers"
    package static let shareTag = "kataShared"
    package static func rootfs(of container: String) -> String { "\(share)/\(container)/rootfs" }

    /// The guest's name of a path below the exported directory.
    package static func path(of shared: String, below share: String) -> String {
        self.share + shared.dropFirst(share.count)
    }
}
