import CLinux
import Glibc
import LinuxKernel

/// virtiofsd, which serves one directory of the host to one guest.
package final class VirtioFSDaemon: Sendable {
    private let process: ChildProcess
    private let exit = OneShot<ProcessExit>()

    private init(_ process: ChildProcess) { self.process = process }

    /// What to run, decided before.
    package struct Plan: Sendable, Equatable {
        package var executable: String
        package var cache: String
        package var extraArguments: [String]
        package init(executable: String, cache: String, extraArguments: [String]) {
            self.executable = executable
            self.cache = cache
            self.extraArguments = extraArguments
        }

        /// Both QEMU's daemon and the Rust one take this form, and of two options of one name the later: what is served, how the daemon is
        /// confined and where it listens stand behind all that others have asked for.
        package func arguments(directory: String, descriptor: Int32) -> [String] {
            ["-o", "cache=\(cache == "never" ? "none" : cache)"] + extraArguments
                + ["-o", "sandbox=namespace", "-o", "source=\(directory)", "--fd=\(descriptor)"]
        }
    }

    /// The capabilities that it can have: those over files, which it works with, and those with which it makes its sandbox. The ones over
    /// files and `sysAdmin` are also what `modcaps` of its arguments may add.
    static let capabilities = CapabilitySet([
        .chown, .dacOverride, .dacReadSearch, .fowner, .fsetid, .setgid, .setuid, .setpcap, .sysChroot, .sysAdmin,
        .sysResource, .mknod, .setfcap,
    ])

    /// The daemon gets a socket that listens already: whoever connects first waits for it, nobody polls.
    package static func start(
        _ plan: Plan, socketPath: String, directory: String, log: borrowing FileDescriptor,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) throws -> VirtioFSDaemon {
        guard access(plan.executable, X_OK) == 0 else {
            throw SystemError("run virtiofsd (hypervisor.qemu.virtio_fs_daemon)", plan.executable, errno: errno)
        }
        let listener = try UnixSocket.listen(socketPath)
        var command = Command(plan.executable, plan.arguments(directory: directory, descriptor: 3), environment: [])
        command.descriptors = [1: log.raw, 2: log.raw, 3: listener.raw]
        command.newSession = true
        // Its sandboxed child, which has files and network of its own too, is in there with it, and can't stay behind.
        command.newNamespaces = UInt64(clx_new_pid.rawValue | clx_new_ipc.rawValue | clx_new_uts.rawValue)
        command.diesWithParent = true
        command.bounding = capabilities
        let daemon = VirtioFSDaemon(try ChildProcess(command, admit: admit))
        try daemon.process.whenEnded("virtiofsd") { daemon.exit.complete($0) }
        return daemon
    }

    package func waitForExit() async -> ProcessExit { await exit.wait() }

    /// The daemon and its sandboxed child.
    package var processes: [Int32] {
        let children = (try? Files.readText("/proc/\(process.pid)/task/\(process.pid)/children")) ?? ""
        return [process.pid] + children.split(separator: " ").compactMap { Int32($0) }
    }

    /// Somebody has stopped it, or its sandboxed child, with a signal: what the guest asks of its files waits.
    package var isHalted: Bool {
        processes.contains {
            ProcessIdentity($0)?.life == .stopped
        }
    }

    /// Ends the daemon; its sandboxed child ends with it. What the guest has written is with the host's kernel already.
    package func stop() { process.signal(SIGKILL) }
}
