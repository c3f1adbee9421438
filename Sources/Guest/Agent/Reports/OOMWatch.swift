import Container
import Glibc
import LinuxKernel
import Synchronization

/// Reports containers in which the kernel has killed a process for lack of memory (cgroup v2, memory.events).
final class OOMWatch: Sendable {
    private struct Watched: Sendable {
        let container: String
        let cgroup: Cgroup
        /// The kernel's count at the last look.
        var kills: UInt64
        /// The kernel's count when the watch began.
        let killsBefore: UInt64
    }

    private struct State: Sendable {
        /// Containers by inotify watch.
        var watched: [Int32: Watched] = [:]
        /// Containers whose kill no caller has received yet, in the order of the kills.
        var events: [String] = []
        var waiters: [CheckedContinuation<String, Never>] = []
    }
    private let state = Mutex(State())
    private let descriptor: FileDescriptor

    /// The maximum of waiting reports; further ones are dropped.
    private static let maxEvents = 1024
    private static let eventsFile = "memory.events"

    /// Starts the watch on a new thread.
    init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try check("watch", "cgroups") { inotify_init1(Int32(IN_CLOEXEC)) })
        detachThread("oom") { [self] in run() }
    }

    /// Watches a container from now on. Without the memory controller the guest's kernel has no such file and no such
    /// kills.
    func add(_ container: String, _ cgroup: Cgroup) {
        state.withLock { state in
            let path = cgroup.path + "/" + Self.eventsFile
            // SAFETY: the call only reads the path.
            let watch = unsafe inotify_add_watch(descriptor.raw, path, UInt32(IN_MODIFY))
            guard watch >= 0 else { return }
            let kills = Self.kills(in: cgroup) ?? 0
            state.watched[watch] = Watched(container: container, cgroup: cgroup, kills: kills, killsBefore: kills)
        }
    }

    /// Whether the kernel has killed in the container since its watch began.
    func hasKilled(in container: String) -> Bool {
        let watched = state.withLock { $0.watched.values.first { $0.container == container } }
        return watched.map { (Self.kills(in: $0.cgroup) ?? 0) > $0.killsBefore } ?? false
    }

    func remove(_ container: String) {
        state.withLock { state in
            for (watch, watched) in state.watched where watched.container == container {
                // Fails if the directory has gone, and the watch with it.
                inotify_rm_watch(descriptor.raw, watch)
                state.watched[watch] = nil
            }
        }
    }

    /// Suspends until a container has had such a kill. Each kill that is seen is reported once, to one caller.
    func next() async -> String {
        await withCheckedContinuation { continuation in
            let event = state.withLock { state -> String? in
                if !state.events.isEmpty { return state.events.removeFirst() }
                state.waiters.append(continuation)
                return nil
            }
            if let event { continuation.resume(returning: event) }
        }
    }

    private static func kills(in cgroup: Cgroup) -> UInt64? { cgroup.table(eventsFile)["oom_kill"] }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            // Ignores the events' contents: any event makes it check all containers, which are few.
            // SAFETY: read(2) writes at most `buffer.count` bytes.
            guard unsafe read(descriptor.raw, &buffer, buffer.count) > 0 || errno == EINTR else { return }
            lookAtAll()
        }
    }

    private func lookAtAll() {
        let reports = state.withLock { state -> [(CheckedContinuation<String, Never>, String)] in
            for (watch, watched) in state.watched {
                guard let kills = Self.kills(in: watched.cgroup), kills > watched.kills else { continue }
                state.watched[watch]?.kills = kills
                if state.events.count < Self.maxEvents { state.events.append(watched.container) }
            }
            let count = min(state.events.count, state.waiters.count)
            defer {
                state.events.removeFirst(count)
                state.waiters.removeFirst(count)
            }
            return Array(zip(state.waiters.prefix(count), state.events.prefix(count)))
        }
        for (waiter, container) in reports { waiter.resume(returning: container) }
    }
}
