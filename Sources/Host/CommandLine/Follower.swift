import CLinux
import Glibc
import LinuxKernel
import Shim
import TTRPC

/// Follows a container's process: passes signals and terminal sizes on, and returns its exit status.
package struct Follower {
    let task: TaskClient
    let id: String
    var exec = ""
    /// The terminal whose size the process gets; -1: none.
    var terminal: Int32 = -1
    /// Whether this is the attach process, with which the exec ends.
    var isAttached = false

    /// Signals to pass on. SIGKILL and SIGSTOP can't be caught; SIGCHLD and SIGWINCH are for the calling process.
    private static let caught = SignalSet(forwarded + [SIGWINCH])
    private static let forwarded: [Int32] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT]

    /// Blocks the signals that are passed on. Call it before any thread is started: threads inherit the mask.
    package static func blockSignals() {
        caught.block()
    }

    func resize() {
        guard terminal >= 0, let size = Terminal.size(terminal) else { return }
        try? task.resize(id, exec: exec, rows: size.rows, columns: size.columns)
    }

    /// Follows with the caller's terminal in raw mode, if there is one, and restores its settings. Where the process
    /// writes to a file or pipe, the terminal shows others' output only, with plain newlines.
    /// - Throws: `SystemError` when no thread can be started. `RPCError` of the wait, unless the shim has ended.
    package func followInForeground() throws -> Int32 {
        resize()
        let before = terminal >= 0 ? Terminal.makeRaw(terminal, keepsOutput: isatty(1) != 1) : nil
        defer { if let before { Terminal.restore(terminal, before) } }
        return try follow()
    }

    /// Blocks until the process ends.
    /// - Returns: its exit status; 137 if the shim has ended.
    func follow() throws -> Int32 {
        try startThread("signals") { [self] in
            while true {
                let number = Self.caught.wait()
                if number == SIGWINCH { resize() } else { try? task.kill(id, exec: exec, signal: number) }
            }
        }
        // This process lives as long as the container, and only waits from now on.
        task.loop.scheduleTask(in: .seconds(1)) { clx_trim_memory() }
        let metadata = isAttached ? [ContainerdTasks.attachedKey: [""]] : [:]
        do { return try task.wait(id, exec: exec, metadata: metadata) } catch let error as RPCError
            where error.code == .unavailable
        {
            // The VM has ended with its shim.
            writeError("the shim of container \"\(id)\" has ended, and the container with it")
            return ProcessExit.killed.status
        }
    }
}
