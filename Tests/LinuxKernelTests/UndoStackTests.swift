import LinuxKernel
import Synchronization
import Testing

@Suite struct UndoStackTests {
    struct Refusal: Error {}

    private final class Journal: Sendable {
        private let entries = Mutex<[String]>([])
        var all: [String] { entries.withLock { $0 } }
        func note(_ entry: String) { entries.withLock { $0.append(entry) } }
    }

    @Test("after a failure the steps run from the last to the first, and the error comes through")
    func lastInFirstUndone() async {
        let journal = Journal()
        await #expect(throws: Refusal.self) {
            try await withUndo { stack in
                stack.add { journal.note("mount") }
                stack.add { journal.note("cgroup") }
                throw Refusal()
            }
        }
        #expect(journal.all == ["cgroup", "mount"])
    }

    @Test("after a success nothing is undone")
    func kept() async throws {
        let journal = Journal()
        let value = try await withUndo { stack in
            stack.add { journal.note("mount") }
            return 7
        }
        #expect(value == 7)
        #expect(journal.all.isEmpty)
    }

    @Test("an operation that never suspends is undone in the same way, and only after a failure")
    func blocking() throws {
        let journal = Journal()
        #expect(throws: Refusal.self) {
            try withBlockingUndo { stack in
                stack.add { journal.note("mount") }
                stack.add { journal.note("cgroup") }
                throw Refusal()
            }
        }
        #expect(journal.all == ["cgroup", "mount"])
        let value = try withBlockingUndo { stack in
            stack.add { journal.note("kept") }
            return 7
        }
        #expect(value == 7 && journal.all.count == 2)
    }

    @Test("a stack that is undone twice runs each step once")
    func once() async {
        let journal = Journal()
        var stack = UndoStack()
        stack.add { journal.note("mount") }
        await stack.undo()
        await stack.undo()
        #expect(journal.all == ["mount"])
        #expect(stack.isEmpty)
    }

    @Test("an actor may add steps that call it again")
    func actor() async {
        let pod = Pod()
        await #expect(throws: Refusal.self) { try await pod.fail() }
        #expect(await pod.undone == 1)
    }

    private actor Pod {
        var undone = 0
        func fail() async throws {
            try await withUndo { stack in
                stack.add { await self.note() }
                throw Refusal()
            }
        }
        private func note() { undone += 1 }
    }
}
