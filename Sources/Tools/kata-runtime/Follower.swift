import CLinux
import Glibc
import LinuxKernel
import TTRPC

/// Stands for a process of a container: passes signals and resizes on, ends with its status.
struct Follower {
    let task: TaskClient
    let id: String
    var exec = ""
    /// A terminal whose size the container's follows; -1 for none.
    var terminal: Int32 = -1

    /// Signals that mean the container. SIGKILL and SIGSTOP can't be passed on; SIGCHLD and SIGWINCH mean this process.
    private static let passed: [Int32] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT]

    /// Before any thread is started: threads inherit what is blocked.
    static func blockSignals() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in passed + [SIGWINCH] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    func resize() {
        guard terminal >= 0, let size = Terminal.size(terminal) else { return }
        try? task.resize(id, exec: exec, rows: size.rows, columns: size.columns)
    }

    /// Follows with the caller's terminal, when there is one, given to the process: raw meanwhile, as it was afterwards.
    func followInForeground() throws -> Int32 {
        resize()
        let before = terminal >= 0 ? Terminal.makeRaw(terminal) : nil
        defer { if var before { tcsetattr(terminal, TCSANOW, &before) } }
        return try follow()
    }

    /// Blocks until the process ends; its status.
    func follow() throws -> Int32 {
        try startThread("signals") { [self] in
            var set = sigset_t()
            sigemptyset(&set)
            for signal in Self.passed + [SIGWINCH] { sigaddset(&set, signal) }
            while true {
                var number: Int32 = 0
                guard sigwait(&set, &number) == 0 else { continue }
                if number == SIGWINCH { resize() } else { try? task.kill(id, exec: exec, signal: number) }
            }
        }
        // It lives as long as the container, and has nothing more to do than to wait.
        task.loop.scheduleTask(in: .seconds(1)) { clx_trim_memory() }
        do { return try task.wait(id, exec: exec) } catch let error as RPCError where error.code == .unavailable {
            // Its machine has ended with it.
            writeError("the shim of container \"\(id)\" has ended, and the container with it")
            return 128 + SIGKILL
        }
    }
}
