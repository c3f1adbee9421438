import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import Agent

@Suite("The reaper", .timeLimit(.minutes(5)))
struct ReaperTests {
    /// Plays the kernel: the reaper blocks until the test lets a child end.
    private final class Children: Sendable {
        private let pipe: Pipe
        init() throws { pipe = try Pipe() }

        func end(_ pid: pid_t, _ status: Int32) {
            let words = [pid, status]
            try? pipe.writeEnd.writeAll(words.withUnsafeBytes { Array($0) }, to: "children")
        }

        func collect() -> Reaper.Collected {
            var words: [Int32] = [0, 0]
            guard read(pipe.readEnd.raw, &words, 8) == 8 else { return .interrupted }
            return words[0] == 0 ? .noChildren : .exited(words[0], status: words[1])
        }

        func none() { end(0, 0) }
    }

    private func wait(_ reaper: Reaper, _ pid: pid_t) async -> Int32 {
        await withCheckedContinuation { continuation in reaper.watch(pid) { continuation.resume(returning: $0) } }
    }

    @Test("a child's status reaches its watcher, whether it ends before or after it is watched")
    func orders() async throws {
        let children = try Children()
        let reaper = try Reaper(collect: children.collect)
        async let late = wait(reaper, 7)
        children.end(7, 3)
        #expect(await late == 3)
        children.end(8, 137)
        children.end(9, 0)
        #expect(await wait(reaper, 9) == 0)
        #expect(await wait(reaper, 8) == 137)
    }

    @Test("unwatched orphans don't disturb others; each status is reported once")
    func orphans() async throws {
        let children = try Children()
        let reaper = try Reaper(collect: children.collect)
        for orphan in 100..<200 { children.end(pid_t(orphan), 1) }
        let told = Mutex<[Int32]>([])
        reaper.watch(7) { status in told.withLock { $0.append(status) } }
        children.end(7, 5)
        try await eventually { told.withLock { $0 } == [5] }
        // The number is used again: the next child of it has another status.
        children.end(7, 6)
        #expect(await wait(reaper, 7) == 6)
        #expect(told.withLock { $0 } == [5])
    }

    @Test("without children it sleeps until one is watched")
    func idle() async throws {
        let children = try Children()
        let reaper = try Reaper(collect: children.collect)
        children.none()
        async let status = wait(reaper, 7)
        children.end(7, 4)
        #expect(await status == 4)
    }

    @Test("a real child's status is that of its exit, or 128 and the signal")
    func realChildren() async throws {
        let child = try ChildProcess(Command("/bin/sleep", ["1000"]))
        let isCollected = Atomic(false)
        let reaper = try Reaper(collect: {
            guard !isCollected.exchange(true, ordering: .relaxed) else { return .noChildren }
            return .exited(child.pid, status: child.wait().status)
        })
        child.signal(SIGTERM)
        #expect(try reaper.wait(child.pid) == 128 + SIGTERM)
    }
}
