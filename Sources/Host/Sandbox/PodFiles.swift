import Cleanup
import LinuxKernel
import OCISpec
import Pod
import Share

/// Files of a pod on the host for containers whose specifications lack them: a manager without a container that opens
/// the pod leaves them to the runtime.
package struct PodFiles: Sendable, Equatable {
    /// Text of /etc/resolv.conf.
    package var resolver: String
    /// Text of /etc/hosts.
    package var hosts: String
    package var hostname: String

    package init(resolver: String, hosts: String, hostname: String) {
        (self.resolver, self.hosts, self.hostname) = (resolver, hosts, hostname)
    }

    /// The directory of the files.
    static func directory(_ paths: SandboxPaths) -> String { paths.machine + "/pod" }

    private static let memoryName = "shm"
    /// Size of /dev/shm in bytes: that of containerd and Docker.
    private static let memorySize = 64 << 20

    private var texts: [(name: String, text: String)] {
        [("resolv.conf", resolver), ("hosts", hosts), ("hostname", hostname + "\n")]
    }

    /// Writes the files.
    /// - Throws: `SystemError` when a file can't be written.
    func write(for paths: SandboxPaths) throws(SystemError) {
        let directory = Self.directory(paths)
        try Files.makeDirectory(directory, mode: 0o755)
        for (name, text) in texts { try Files.write(directory + "/" + name, Array(text.utf8), mode: 0o644) }
    }

    /// A specification with the pod's files where it mounts none, and with the pod's /dev/shm instead of its own.
    ///
    /// The files are read-only: they are in the host's /run, whose memory a guest could fill.
    func completing(_ spec: Spec, _ paths: SandboxPaths) -> Spec {
        guard PodRole(spec) == .container else { return spec }
        var spec = spec
        var mounts = spec.mounts ?? []
        let directory = Self.directory(paths)
        for (name, _) in texts where !mounts.contains(where: { $0.destination == "/etc/" + name }) {
            mounts.append(
                Mount(
                    destination: "/etc/" + name, type: "bind", source: directory + "/" + name,
                    options: ["rbind", "rprivate", "ro"]))
        }
        let shared = Mount(
            destination: "/dev/shm", type: "bind", source: directory + "/" + Self.memoryName, options: ["rbind"])
        if let index = mounts.lastIndex(where: { $0.destination == shared.destination }) {
            if mounts[index].type == "tmpfs" { mounts[index] = shared }
        } else {
            mounts.append(shared)
        }
        spec.mounts = mounts
        return spec
    }

    /// Finds memory file systems of the host, and the pod's /dev/shm: only the guest has that, so it has no device
    /// number of the host.
    static func finder(_ paths: SandboxPaths) -> @Sendable (String) -> MemoryFileSystem? {
        let (find, own) = (MemoryFileSystem.finder(), directory(paths) + "/" + memoryName)
        return { path in
            guard path == own else { return find(path) }
            var memory = MemoryFileSystem(device: 0, mountPoints: [own])
            memory.size = "\(memorySize)"
            memory.restrictions = ["nosuid", "nodev", "noexec"]
            memory.top.mode = 0o1777
            return memory
        }
    }
}
