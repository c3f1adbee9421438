import CLinux
import Glibc

/// A running child, held by its pidfd: no later process with the same number is mistaken for it.
///
/// Unless `Command.mayDumpCore` is set, the child dumps no core (RLIMIT_CORE). A program with CAP_SYS_RESOURCE, such as
/// a hook, can raise that limit again.
package final class ChildProcess: Sendable {
    package let pid: pid_t
    private let pidfd: FileDescriptor

    /// Starts `command`. Standard streams that are not in its table are /dev/null.
    /// - Parameter admit: called with the child before it executes anything. The child ends when `admit` throws, or
    ///   when this process dies during the call.
    /// - Throws: the error of `admit`, or the step that failed, on the executable.
    package init(_ command: Command, admit: ((ProcessIdentity) throws(SystemError) -> Void)? = nil) throws(SystemError)
    {
        let admission = Admission(admit)
        let request = try SpawnRequest(command, admission: admit == nil ? nil : admission)
        var fd: Int32 = -1
        var failed = clx_spawn_clone
        // SAFETY: the request lives until the call returns, with all that its pointers lead to.
        let pid = withExtendedLifetime((request, admission)) { unsafe clx_spawn(&request.arguments, &fd, &failed) }
        if let refusal = admission.refusal { throw refusal }
        guard pid > 0 else { throw SystemError(failed.name, command.executable, errno: -pid) }
        self.pid = pid
        pidfd = FileDescriptor(owning: fd)
    }

    /// Readable once the child has ended (pidfd_open(2)).
    var descriptor: Int32 { pidfd.raw }

    package func signal(_ number: Int32) { _ = clx_pidfd_send_signal(pidfd.raw, number) }

    /// Calls `body` when the child has ended, on a new thread that waits for it.
    /// - Throws: when the thread can't be started. The child is killed then, as nothing would report its end.
    package func whenEnded(_ thread: String, _ body: @escaping @Sendable (ProcessExit) -> Void) throws(SystemError) {
        do { try startThread(thread) { [self] in body(wait()) } } catch {
            signal(SIGKILL)
            _ = wait()
            throw error
        }
    }

    /// Blocks until the child ends, and kills it after `limit`. To be called once.
    package func wait(within limit: Duration) -> ProcessExit {
        if !isReady(pidfd.raw, within: limit) { signal(SIGKILL) }
        return wait()
    }

    /// Blocks until the child ends. To be called once.
    package func wait() -> ProcessExit {
        var code: Int32 = 0
        var status: Int32 = 0
        // SAFETY: the call sets both numbers; they are used only after success.
        guard unsafe clx_wait_pidfd(pidfd.raw, &code, &status) == 0 else { return .exited(255) }
        return code == CLD_EXITED ? .exited(status) : .signalled(status)
    }
}

/// A child and the read end of a pipe that only the child writes to: end of file is the end of its output.
package struct ChildWithOutput: ~Copyable {
    package let process: ChildProcess
    package let output: FileDescriptor

    /// - Parameter targets: the child's descriptors that write into the pipe.
    /// - Throws: `SystemError` when the pipe can't be made, or the child can't be started.
    package init(_ command: Command, output targets: [Int32]) throws(SystemError) {
        let pipe = try Pipe()
        var command = command
        for target in targets { command.descriptors[target] = pipe.writeEnd.raw }
        process = try ChildProcess(command)
        output = pipe.readEnd
    }
}
