import CLinux
import Glibc

/// A process that can't be mistaken for a later one with its number: it has the time of its start too.
package struct ProcessIdentity: Hashable, Codable, Sendable {
    package let pid: Int32
    /// Clock ticks between the host's boot and the process's start (proc_pid_stat(5), starttime).
    package let start: UInt64

    package init(pid: Int32, start: UInt64) { (self.pid, self.start) = (pid, start) }

    /// The process that has this number now; nil when there is none.
    package init?(_ pid: Int32) {
        guard pid > 0, let facts = try? Facts.find(pid) else { return nil }
        self.init(pid: pid, start: facts.start)
    }

    /// Whether there is a process that makes or removes something whose name has its number behind the last dash, for all that is known.
    package static func isAtWork(endOf name: String) -> Bool {
        guard let pid = name.split(separator: "-").last.flatMap({ Int32($0) }) else { return false }
        do { return try Facts.find(pid) != nil } catch { return true }
    }

    package static var own: ProcessIdentity? { ProcessIdentity(getpid()) }

    package enum Life: Sendable, Equatable {
        case running
        /// It does nothing until somebody continues it: stopped, or traced.
        case stopped
        /// There is no such process any more, or it waits to be collected.
        case ended
    }

    /// Who can't look takes it for running: what a living process has would be taken away else.
    package var life: Life {
        let found: Facts?
        do { found = try Facts.find(pid) } catch { return .running }
        guard let facts = found, facts.start == start else { return .ended }
        switch facts.state {
        case "Z", "X": return .ended
        case "T", "t": return .stopped
        default: return .running
        }
    }

    /// Kills it and waits for its end. Nothing happens to another process that has its number by now.
    /// - Parameter grace: how long it may end by itself before.
    /// - Returns: whether it has ended.
    @discardableResult
    package func kill(after grace: Duration = .zero, within limit: Duration) -> Bool {
        let raw = clx_pidfd_open(pid)
        guard raw >= 0 else { return life == .ended }
        let process = FileDescriptor(owning: raw)
        // Asked after the descriptor is there: what it leads to can't be another process any more.
        guard life != .ended else { return true }
        if Self.hasEnded(process.raw, within: grace) { return true }
        _ = clx_pidfd_send_signal(process.raw, SIGKILL)
        return Self.hasEnded(process.raw, within: limit)
    }

    /// Calls `body`, on a thread that waits for it, when the process has ended.
    package func whenEnded(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        try startThread("process") {
            var raw = clx_pidfd_open(pid)
            // Where there is no descriptor for it now there will be one later.
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
        var ready = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        let milliseconds = limit.map { Int32(clamping: Int($0 / .milliseconds(1))) } ?? -1
        while true {
            let count = poll(&ready, 1, milliseconds)
            if count >= 0 || errno != EINTR { return count > 0 }
        }
    }

    /// What /proc/<pid>/stat says. The name in parentheses may hold anything, also parentheses and blanks.
    struct Facts: Equatable {
        let state: Character
        let start: UInt64

        /// - Returns: nil when there is no such process.
        /// - Throws: as `Files.find`.
        static func find(_ pid: Int32) throws(SystemError) -> Facts? {
            guard let bytes = try Files.find("/proc/\(pid)/stat") else { return nil }
            return Facts(String(decoding: bytes, as: UTF8.self))
        }

        init?(_ text: String) {
            guard let name = text.lastIndex(of: ")") else { return nil }
            let fields = text[text.index(after: name)...].split(whereSeparator: \.isWhitespace)
            guard fields.count > 19, let state = fields[0].first, let start = UInt64(fields[19]) else { return nil }
            (self.state, self.start) = (state, start)
        }
    }
}
