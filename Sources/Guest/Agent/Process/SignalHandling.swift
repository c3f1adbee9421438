import LinuxKernel

extension GuestProcess {
    /// Whether the program blocks, ignores, catches or waits for a signal.
    func handles(_ signal: Int32) -> Bool {
        func read(_ name: String) -> String { (try? Files.readText("/proc/\(pid)/\(name)")) ?? "" }
        // During sigwait(3) the signal counts as not blocked: look at the system call before and after.
        return Self.isWaiting(syscall: read("syscall")) || Self.handles(signal, status: read("status"))
            || Self.isWaiting(syscall: read("syscall"))
    }

    /// Numbers of rt_sigtimedwait(2): of this architecture (asm/unistd_64.h), and the two of 32-bit programs.
    private static let waitCalls: [String] = {
        #if arch(x86_64)
            ["128", "177", "421"]
        #else
            ["137", "177", "421"]
        #endif
    }()

    /// Whether a process is in rt_sigtimedwait(2), where the program that `--init` puts first spends its time.
    /// - Parameter syscall: the text of /proc/PID/syscall (proc_pid_syscall(5)).
    static func isWaiting(syscall: String) -> Bool { waitCalls.contains(String(syscall.prefix { $0 != " " })) }

    /// Whether a signal is blocked (signalfd(2) needs that), ignored or caught; true if the text doesn't say.
    /// - Parameter status: the text of /proc/PID/status (proc_pid_status(5)).
    static func handles(_ signal: Int32, status: String) -> Bool {
        let names = ["SigBlk:", "SigIgn:", "SigCgt:"]
        let masks = status.split(separator: "\n").filter { line in names.contains { line.hasPrefix($0) } }
        guard masks.count == names.count else { return true }
        return masks.contains { line in
            let digits = line.drop { $0 != ":" }.dropFirst().filter { !$0.isWhitespace }
            return (UInt64(digits, radix: 16) ?? 0) & (1 << UInt64(signal - 1)) != 0
        }
    }
}
