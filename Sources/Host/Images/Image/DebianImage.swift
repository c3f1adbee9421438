import Glibc
import LinuxKernel

/// A root file system of Debian packages with systemd as process 1 and the agent as a unit. Making it needs root.
package struct DebianImage: Sendable {
    package static let release = "bookworm"
    /// The packages that systemd needs as process 1.
    static let packages = ["systemd", "systemd-sysv", "dbus"]

    package var image: GuestImage
    package var extraPackages: [String] = []
    /// An existing tree, for example of debootstrap, which is copied; nil: debootstrap makes one.
    package var base: String?

    package init(_ image: GuestImage) { self.image = image }

    /// - Parameter progress: called with a text at each step.
    /// - Throws: `ImageError` without root's rights, for a base without systemd, and for a program that is missing or
    ///   fails. `SystemError` for a file that can't be read or written.
    package func disk(_ format: DiskImage.Format, output: String, progress: (String) -> Void) throws {
        guard getuid() == 0 else {
            throw ImageError(
                "an image with systemd needs root: debootstrap makes files of many users; or use --init agent")
        }
        let staging = output + ".files"
        Files.removeTree(staging)
        defer { Files.removeTree(staging) }
        if let base {
            guard Files.exists(base + "/lib/systemd/systemd") || Files.exists(base + "/usr/lib/systemd/systemd") else {
                throw ImageError("\(base): has no systemd (lib/systemd/systemd)")
            }
            progress("copying \(base)")
            try Program("/usr/bin/cp", ["-a", base, staging]).run("copy \(base)")
        } else {
            progress("running debootstrap for \(Self.release)")
            let names = (Self.packages + extraPackages).joined(separator: ",")
            try Program("/usr/sbin/debootstrap", ["--variant=minbase", "--include=\(names)", Self.release, staging])
                .run(
                    "make a root file system of Debian's packages")
        }
        progress("writing \(output)")
        try Self.trim(staging)
        try tree().write(below: staging)
        try DiskImage.make(format, of: staging, output: output)
    }

    /// Files that no guest needs, or that differ from one build to the next.
    private static func trim(_ root: String) throws {
        for directory in [
            "dev", "proc", "sys", "run", "tmp", "boot", "var/cache", "var/log", "var/tmp", "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man", "usr/share/locale", "usr/share/info", "debootstrap",
        ] {
            for name in Files.list(root + "/" + directory) { Files.removeTree("\(root)/\(directory)/\(name)") }
        }
        // The resolver file is the host's. With an empty machine-id, systemd makes one at each boot (machine-id(5)).
        for file in [
            "etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id", "etc/passwd-",
            "etc/shadow-", "etc/group-", "etc/gshadow-", ".complete",
        ] {
            // SAFETY: the call only reads the path.
            unsafe unlink(root + "/" + file)
        }
    }

    /// The files to add to Debian's: the agent, its units, and mounts for the directories that must be writable on a
    /// read-only root.
    func tree() throws -> FileTree {
        var metadata = Metadata(image)
        metadata.distribution = ("debian", Self.release)
        metadata.packages = Self.packages
        metadata.extraPackages = extraPackages
        var tree = FileTree()
        tree.add("usr/bin/kata-agent", try image.program(image.agent))
        tree.add("usr/lib/systemd/system/kata-agent.service", text: Self.service)
        tree.add("usr/lib/systemd/system/kata-containers.target", text: Self.target)
        tree.add("etc/systemd/system/default.target", .link(to: "/usr/lib/systemd/system/kata-containers.target"))
        tree.add("etc/machine-id", text: "")
        tree.add("etc/fstab", text: Self.fileSystems)
        try image.addCommon(to: &tree, metadata)
        return tree
    }

    private static let service = """
        [Unit]
        Description=Kata Containers agent
        DefaultDependencies=no
        After=local-fs.target
        Wants=local-fs.target

        [Service]
        ExecStart=/usr/bin/kata-agent
        StandardOutput=journal+console
        Restart=no
        # Containers' processes are the agent's to end, and their groups its own to make.
        KillMode=process
        Delegate=yes
        LimitNOFILE=1048576
        TasksMax=infinity
        OOMScoreAdjust=-997

        """

    private static let target = """
        [Unit]
        Description=Kata Containers guest
        Requires=kata-agent.service
        AllowIsolate=yes

        """

    private static let fileSystems = """
        tmpfs /tmp tmpfs nosuid,nodev,mode=1777 0 0
        tmpfs /var/log tmpfs nosuid,nodev,noexec,mode=755 0 0
        tmpfs /var/tmp tmpfs nosuid,nodev,mode=1777 0 0
        tmpfs /var/lib/systemd tmpfs nosuid,nodev,noexec,mode=755 0 0

        """
}
