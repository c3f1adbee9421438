import Container
import Glibc
import LinuxKernel
import Synchronization

/// Tells of containers in which the kernel has killed for want of memory (cgroup v2, memory.events).
final class OOMWatch: Sendable {
    private struct Facts: Sendable {
        /// By inotify watch: the container, its group and the kills that are known of.
        var watched: [Int32: (container: String, cgroup: Cgroup, kills: UInt64)] = [:]
        var events: [String] = []
        var waiters: [CheckedContinuation<String, Never>] = []
    }
    private let facts = Mutex(Facts())
    private let descriptor: FileDescriptor

    init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try check("watch", "cgroups") { inotify_init1(Int32(IN_CLOEXEC)) })
        detachThread("oom") { [self] in run() }
    }

    func add(_ container: String, _ cgroup: Cgroup) {
        facts.withLock { facts in
            let watch = inotify_add_watch(descriptor.raw, cgroup.path + "/memory.events", UInt32(IN_MODIFY))
            // A guest kernel without the memory controller has no such file, and no such kills.
            guard watch >= 0 else { return }
            facts.watched[watch] = (container, cgroup, cgroup.table("memory.events")["oom_kill"] ?? 0)
        }
    }

    func remove(_ container: String) {
        facts.withLock { facts in
            for (watch, record) in facts.watched where record.container == container {
                // The removed directory may have ended the watch already.
                inotify_rm_watch(descriptor.raw, watch)
                facts.watched[watch] = nil
            }
        }
    }

    /// The next container with such a kill, in their order.
    func next() async -> String {
        await withCheckedContinuation { continuation in
            let event = facts.withLock { facts -> String? in
                if !facts.events.isEmpty { return facts.events.removeFirst() }
                facts.waiters.append(continuation)
                return nil
            }
            if let event { continuation.resume(returning: event) }
        }
    }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            // Which file changed is not worth decoding: there are a handful, and each tells its own count.
            guard read(descriptor.raw, &buffer, buffer.count) > 0 || errno == EINTR else { return }
            look()
        }
    }

    private func look() {
        let resumed = facts.withLock { facts -> [(CheckedContinuation<String, Never>, String)] in
            for (watch, record) in facts.watched {
                let kills = record.cgroup.table("memory.events")["oom_kill"] ?? record.kills
                guard kills > record.kills else { continue }
                facts.watched[watch]?.kills = kills
                if facts.events.count < 1024 { facts.events.append(record.container) }
            }
            let count = min(facts.events.count, facts.waiters.count)
            defer {
                facts.events.removeFirst(count)
                facts.waiters.removeFirst(count)
            }
            return Array(zip(facts.waiters.prefix(count), facts.events.prefix(count)))
        }
        for (waiter, container) in resumed { waiter.resume(returning: container) }
    }
}
