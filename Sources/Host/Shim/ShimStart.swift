import CLinux
import Glibc
import Linux
import OCISpec

/// `start`: makes the socket, leaves a serving process behind, prints the socket's address.
package enum ShimStart {
    package static func run(_ flags: ShimFlags) throws -> String {
        let group = group(of: flags)
        let address = SocketAddress.path(containerd: flags.address, namespace: flags.namespace, group: group)
        if group != flags.id, (try? UnixSocket.connect(address).raw) != nil {
            try Files.replace("address", "unix://" + address)
            return "unix://" + address
        }
        if (try? UnixSocket.connect(address).raw) != nil {
            throw UsageError("a shim of \(group) serves \(address) already")
        }
        try Files.makeDirectory(SocketAddress.directory)
        let listener = try UnixSocket.listen(address)
        var command = Command(
            "/proc/self/exe",
            [
                "-namespace", flags.namespace, "-address", flags.address, "-publish-binary", flags.publishBinary, "-id",
                group,
            ]
                + (flags.debug ? ["-debug"] : []))
        command.name = "containerd-shim-kata-v2"
        command.newSession = true
        command.descriptors = [3: listener.raw]
        let log = try FileDescriptor.open(Files.exists("log") ? "log" : "/dev/null", O_RDWR | O_NONBLOCK)
        command.descriptors[2] = log.raw
        let child = try ChildProcess(command)
        do {
            try Files.replace("shim.pid", "\(child.pid)")
            try Files.replace("address", "unix://" + address)
        } catch {
            // Nobody will learn of this shim: it goes, and its socket.
            child.signal(SIGKILL)
            unlink(address)
            throw error
        }
        return "unix://" + address
    }

    /// The containers of a pod share a shim: the group is the sandbox that the manager's annotations name.
    private static func group(of flags: ShimFlags) -> String {
        guard let spec = try? Spec.load(path: "config.json"), let annotations = spec.annotations else {
            return flags.id
        }
        if annotations["io.kubernetes.cri.container-type"] == "container" {
            return annotations["io.kubernetes.cri.sandbox-id"] ?? flags.id
        }
        return flags.id
    }
}
