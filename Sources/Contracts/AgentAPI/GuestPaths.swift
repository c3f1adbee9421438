/// Paths in the guest that host and agent both know; the names are those of Kata's agent.
package enum GuestPaths {
    /// The tag of the file system share that the guest mounts.
    package static let shareTag = "kataShared"

    /// The parent of everything that the host may have the agent make.
    package static let root = "/run/kata-containers"
    package static let share = root + "/shared/containers"
    /// Modules of guest kernels, by release, which the host shares. No container has a name that begins with a dot.
    package static let modulesName = ".modules"
    package static let modules = share + "/" + modulesName
    /// Files of the sandbox itself, such as its resolv.conf.
    package static let sandbox = root + "/sandbox"
    package static let resolvConf = sandbox + "/resolv.conf"

    /// The root of a container whose files come from the share.
    package static func rootfs(of container: String) -> String { "\(share)/\(container)/rootfs" }

    /// Mount point of a root file system on a disk.
    package static func rootDisk(of container: String) -> String { "\(root)/\(container)/rootfs" }

    /// Mount point of a disk that a container mounts.
    package static func disk(of container: String, index: Int) -> String { "\(root)/\(container)/disk\(index)" }

    /// Where the agent listens instead of a socket on the host.
    package static func socket(of container: String, index: Int) -> String { "\(root)/\(container)/socket\(index)" }

    /// Mount point of guest memory that replaces the host's tmpfs with this device number.
    package static func memory(_ device: UInt64) -> String { "\(sandbox)/ephemeral/\(device)" }

    /// Mount point of a directory in such memory, for one container.
    package static func memoryDirectory(of container: String, index: Int) -> String {
        "\(root)/\(container)/memory\(index)"
    }

    /// Translates a path below the host's `mounts` directory to the guest's share.
    package static func path(of mounted: String, below mounts: String) -> String {
        share + mounted.dropFirst(mounts.count)
    }
}
