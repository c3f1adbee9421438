import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// Collects every child that ends, the agent's own and orphans, on one thread.
final class Reaper: Sendable {
    /// The answer of a wait for any child.
    enum Collected: Sendable {
        /// The status is 128+n for a child that signal n has ended.
        case exited(pid_t, status: Int32)
        case noChildren
        case interrupted
    }

    private struct State: Sendable {
        var watchers: [pid_t: @Sendable (Int32) -> Void] = [:]
        /// Statuses of children that ended before a watch was set.
        var early: [pid_t: Int32] = [:]
    }
    private let state = Mutex(State())
    private let wake: Pipe
    private let collect: @Sendable () -> Collected

    /// The maximum of kept statuses of orphans, which no caller watches.
    private static let maxEarly = 4096

    /// - Parameter collect: blocks until a child has ended. Tests replace it: a process has one reaper of all its
    ///   children.
    init(collect: @escaping @Sendable () -> Collected = Reaper.waitForAnyChild) throws(SystemError) {
        wake = try Pipe()
        self.collect = collect
        detachThread("reaper") { [self] in run() }
    }

    /// Calls `body` once with the exit status of a child.
    func watch(_ pid: pid_t, _ body: @escaping @Sendable (Int32) -> Void) {
        let status = state.withLock { state -> Int32? in
            if let status = state.early.removeValue(forKey: pid) { return status }
            state.watchers[pid] = body
            return nil
        }
        if let status { body(status) }
        var one: UInt8 = 1
        // SAFETY: `one` has the one byte that is written.
        _ = unsafe write(wake.writeEnd.raw, &one, 1)
    }

    /// Blocks until a child has ended.
    /// - Returns: its exit status.
    func wait(_ pid: pid_t) throws(SystemError) -> Int32 {
        let pipe = try Pipe()
        let writeEnd = try pipe.writeEnd.duplicate().take()
        watch(pid) { status in
            var status = status
            // SAFETY: write(2) reads the whole number, and no more.
            _ = unsafe write(writeEnd, &status, MemoryLayout<Int32>.size)
            close(writeEnd)
        }
        var status: Int32 = 0
        // SAFETY: read(2) writes at most as many bytes as the number has; any bytes are a number.
        try check("wait for", "process \(pid)") { unsafe read(pipe.readEnd.raw, &status, MemoryLayout<Int32>.size) }
        return status
    }

    private static let waitForAnyChild: @Sendable () -> Collected = {
        var status: Int32 = 0
        // SAFETY: the call writes to `status`.
        let pid = unsafe clx_wait_any(&status)
        return pid == -ECHILD ? .noChildren : pid > 0 ? .exited(pid, status: status) : .interrupted
    }

    private func run() {
        while true {
            switch collect() {
            case .interrupted: continue
            case .noChildren:
                // Sleeps until a child is started and watched.
                var byte: UInt8 = 0
                // SAFETY: read(2) writes at most the one byte.
                _ = unsafe read(wake.readEnd.raw, &byte, 1)
            case .exited(let pid, let status):
                let watcher = state.withLock { state in
                    let watcher = state.watchers.removeValue(forKey: pid)
                    if watcher == nil, state.early.count < Self.maxEarly { state.early[pid] = status }
                    return watcher
                }
                watcher?(status)
            }
        }
    }
}
