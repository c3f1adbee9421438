import CLinux
import Glibc

/// A process by its number and its start time, so that no later process with the same number is mistaken for it.
package struct ProcessIdentity: Hashable, Codable, Sendable {
    package let pid: Int32
    /// Clock ticks between the host's boot and the process's start (proc_pid_stat(5), starttime).
    package let start: UInt64

    package init(pid: Int32, start: UInt64) { (self.pid, self.start) = (pid, start) }

    /// The process that has this number now.
    /// - Returns: nil when there is none, or /proc can't be read.
    package init?(_ pid: Int32) {
        guard pid > 0, let facts = try? ProcessStatistics.find(pid) else { return nil }
        self.init(pid: pid, start: facts.start)
    }

    /// Whether the process lives whose number ends `name`, behind its last dash. True if /proc can't be read.
    ///
    /// Such names belong to directories that a process is about to complete or to remove.
    package static func isOwnerAlive(ofName name: String) -> Bool {
        guard let pid = name.split(separator: "-").last.flatMap({ Int32($0) }) else { return false }
        do { return try ProcessStatistics.find(pid) != nil } catch { return true }
    }

    package static var own: ProcessIdentity? { ProcessIdentity(getpid()) }

    package enum Life: Sendable, Equatable {
        case running
        /// Stopped by a signal or a tracer until something continues it.
        case stopped
        /// The process is gone, or is a zombie.
        case ended
    }

    /// The state of the process. If /proc can't be read, the process counts as running: otherwise its resources would
    /// be removed.
    package var life: Life {
        let found: ProcessStatistics?
        do { found = try ProcessStatistics.find(pid) } catch { return .running }
        guard let facts = found, facts.start == start else { return .ended }
        switch facts.state {
        case "Z", "X": return .ended
        case "T", "t": return .stopped
        default: return .running
        }
    }

    /// Kills the process and waits for its end. A later process with the same number is left alone.
    /// - Parameter grace: the time that it has to end by itself first.
    /// - Returns: whether it has ended.
    @discardableResult
    package func kill(after grace: Duration = .zero, within limit: Duration) -> Bool {
        let raw = clx_pidfd_open(pid)
        guard raw >= 0 else { return life == .ended }
        let process = FileDescriptor(owning: raw)
        // The descriptor holds the number from here on, so this check is about the process that it leads to.
        guard life != .ended else { return true }
        if Self.hasEnded(process.raw, within: grace) { return true }
        _ = clx_pidfd_send_signal(process.raw, SIGKILL)
        return Self.hasEnded(process.raw, within: limit)
    }

    /// Calls `body` when the process has ended, on a new thread that waits for it.
    /// - Throws: when the thread can't be started.
    package func whenEnded(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        try startThread("process") {
            var raw = clx_pidfd_open(pid)
            // Tries again when this process has no descriptor left.
            while raw < 0, life != .ended {
                sleep(1)
                raw = clx_pidfd_open(pid)
            }
            if raw >= 0 {
                let process = FileDescriptor(owning: raw)
                if life != .ended { _ = Self.hasEnded(process.raw, within: nil) }
            }
            body()
        }
    }

    private static func hasEnded(_ pidfd: Int32, within limit: Duration?) -> Bool {
        isReady(pidfd, by: limit.map { .now + $0 })
    }
}
