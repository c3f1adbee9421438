import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// Collects every child that ends, ours and orphans, on one thread.
final class Reaper: Sendable {
    private struct Facts: Sendable {
        var watchers: [pid_t: @Sendable (Int32) -> Void] = [:]
        /// Children that ended before anybody asked for them.
        var early: [pid_t: Int32] = [:]
    }
    private let facts = Mutex(Facts())
    private let wake: Pipe

    init() throws(SystemError) {
        wake = try Pipe()
        detachThread("reaper") { [self] in run() }
    }

    /// Calls `body` with the exit status of a child, once. The status is 128+n for signal n.
    func watch(_ pid: pid_t, _ body: @escaping @Sendable (Int32) -> Void) {
        let status = facts.withLock { facts -> Int32? in
            if let status = facts.early.removeValue(forKey: pid) { return status }
            facts.watchers[pid] = body
            return nil
        }
        if let status { body(status) }
        var one: UInt8 = 1
        _ = write(wake.writeEnd.raw, &one, 1)
    }

    /// Blocks until a child has ended. Returns its status.
    func wait(_ pid: pid_t) throws(SystemError) -> Int32 {
        let pipe = try Pipe()
        let writeEnd = try pipe.writeEnd.duplicate().take()
        watch(pid) { status in
            var status = status
            _ = write(writeEnd, &status, 4)
            close(writeEnd)
        }
        var status: Int32 = 0
        try check("wait for", "process \(pid)") { read(pipe.readEnd.raw, &status, 4) }
        return status
    }

    private func run() {
        while true {
            var status: Int32 = 0
            let pid = clx_wait_any(&status)
            if pid == -ECHILD {
                // Nothing to wait for until somebody starts a child and watches it.
                var byte: UInt8 = 0
                _ = read(wake.readEnd.raw, &byte, 1)
                continue
            }
            guard pid > 0 else { continue }
            let watcher = facts.withLock { facts in
                let watcher = facts.watchers.removeValue(forKey: pid)
                if watcher == nil, facts.early.count < 4096 { facts.early[pid] = status }
                return watcher
            }
            watcher?(status)
        }
    }
}
