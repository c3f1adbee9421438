import AgentAPI
import CLinux
import Glibc
import LinuxKernel

/// virtio-fs: virtiofsd serves the directory to the guest over a vhost-user socket.
package struct VirtioFS: SharedFileSystem, Equatable {
    package var executable: String
    /// The value of `virtio_fs_cache`.
    package var cache: String
    package var extraArguments: [String]

    package init(executable: String, cache: String, extraArguments: [String]) {
        (self.executable, self.cache, self.extraArguments) = (executable, cache, extraArguments)
    }

    package var driver: String { StorageDriver.virtioFS }
    package var fileSystemType: String { StorageDriver.virtioFSType }
    package var serverName: String { "virtiofsd" }
    package var words: [String] { [executable, cache] + extraArguments }

    /// The command line of QEMU's daemon and of the Rust one. Of two options with one name the later wins: the
    /// directory, the confinement and the socket come after everything that the configuration adds.
    package func arguments(directory: String, descriptor: Int32) -> [String] {
        ["-o", "cache=\(cache == "never" ? "none" : cache)"] + [
            "-o", "xattr,posix_acl,xattrmap=\(Self.attributes)",
        ] + extraArguments
            + ["-o", "sandbox=namespace", "-o", "source=\(directory)", "--fd=\(descriptor)"]
    }

    /// Rules for extended attributes, each with its kind, direction, and beginnings of names in the guest and on the host.
    /// The first one that fits counts.
    ///
    /// `trusted` names mean something to the host, such as to its overlay file systems: the guest's get a beginning that
    /// means nothing, and the host's are hidden. Of the `security` names the guest has those of file capabilities, as a
    /// container with `CAP_SETFCAP` has under runc; the host's labels and signatures are neither read nor written.
    static let attributes = [
        ":prefix:all:trusted.:user.virtiofs.:", ":bad:server::trusted.:", ":bad:client:user.virtiofs.::",
        ":ok:all:security.capability:security.capability:", ":bad:all:security.:security.:", ":ok:all:::",
    ].joined()

    /// The capabilities of the daemon: those for its work on files, and those for making its sandbox. `modcaps` in
    /// its arguments may add only those over files and `sysAdmin`.
    static let capabilities = CapabilitySet([
        .chown, .dacOverride, .dacReadSearch, .fowner, .fsetid, .setgid, .setuid, .setpcap, .sysChroot, .sysAdmin,
        .sysResource, .mknod, .setfcap,
    ])

    /// The daemon inherits a listening socket: a client may connect before it accepts, so nothing polls.
    package func start(
        exporting directory: String, socketPath: String, log: borrowing FileDescriptor,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) throws -> any FileServer {
        // SAFETY: access(2) only reads the path.
        guard unsafe access(executable, X_OK) == 0 else {
            throw SystemError("run virtiofsd (hypervisor.qemu.virtio_fs_daemon)", executable, errno: errno)
        }
        let listener = try UnixSocket.listen(socketPath)
        var command = Command(executable, arguments(directory: directory, descriptor: 3), environment: [])
        command.descriptors = [1: log.raw, 2: log.raw, 3: listener.raw]
        command.newSession = true
        // The daemon's sandboxed child shares these namespaces and ends with the daemon. The child also has separate
        // mount and network namespaces.
        command.newNamespaces = UInt64(clx_new_pid.rawValue | clx_new_ipc.rawValue | clx_new_uts.rawValue)
        command.diesWithParent = true
        command.bounding = Self.capabilities
        return try VirtioFSDaemon(ChildProcess(command, admit: admit))
    }
}

/// A running virtiofsd.
final class VirtioFSDaemon: FileServer {
    private let process: ChildProcess
    private let exit = OneShot<ProcessExit>()

    init(_ process: ChildProcess) throws {
        self.process = process
        try process.whenEnded("virtiofsd") { [exit] in exit.complete($0) }
    }

    var name: String { "virtiofsd" }

    func waitForExit() async -> ProcessExit { await exit.wait() }

    /// The daemon and its sandboxed child.
    var processes: [Int32] {
        let children = (try? Files.readText("/proc/\(process.pid)/task/\(process.pid)/children")) ?? ""
        return [process.pid] + children.split(separator: " ").compactMap { Int32($0) }
    }

    var isHalted: Bool { processes.contains { ProcessIdentity($0)?.life == .stopped } }

    /// The sandboxed child ends with the daemon. Data that the guest has written is in the host's kernel already.
    func stop() { process.signal(SIGKILL) }
}
