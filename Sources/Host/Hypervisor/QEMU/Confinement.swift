import CLinux
import Glibc
import Hypervisor
import LinuxKernel

/// Confines QEMU: a guest that has taken it over reaches no file, process or network of the host.
extension QEMU {
    func confine(_ command: inout Command, _ configuration: VMConfiguration) {
        command.newSession = true
        command.diesWithParent = true
        command.withoutPrivileges = true
        command.user = configuration.user
        command.root = privateRoot(configuration)
        let namespaces =
            [clx_new_pid, clx_new_ipc, clx_new_uts] + (configuration.networkNamespace == nil ? [clx_new_net] : [])
        command.newNamespaces = namespaces.reduce(0) { $0 | UInt64($1.rawValue) }
        command.networkNamespace = configuration.networkNamespace
    }

    /// The root with all paths that QEMU opens: itself with its libraries and firmware, and devices. Boot files,
    /// sockets, disks, memory and logs are passed as open descriptors.
    func privateRoot(_ configuration: VMConfiguration) -> PrivateRoot {
        let paths = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"] + Self.installation(executable)
        var devices = ["/dev/null", configuration.entropySource]
        if accelerator.accelerator == .kvm { devices.append("/dev/kvm") }
        return PrivateRoot(directory: configuration.rootDirectory, paths: paths, devices: devices)
    }

    /// A program and the files installed with it, at their usual places (hier(7)).
    private static func installation(_ executable: String) -> [String] {
        // A script needs a shell and other programs.
        var start: [UInt8] = [0, 0]
        // SAFETY: `start` has room for the two bytes that are read.
        if let file = try? FileDescriptor.open(executable, O_RDONLY), unsafe read(file.raw, &start, 2) == 2,
            start == Array("#!".utf8)
        {
            return [executable, "/bin", "/sbin", "/usr"]
        }
        let names = executable.split(separator: "/")
        guard names.count > 1, ["bin", "sbin", "libexec"].contains(names[names.count - 2]) else { return [executable] }
        let prefix = names.dropLast(2).map { "/" + $0 }.joined()
        return [executable, prefix + "/lib", prefix + "/lib64", prefix + "/share"]
    }
}
