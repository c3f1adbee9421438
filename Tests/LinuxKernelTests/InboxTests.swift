import Glibc
import LinuxKernel
import Synchronization
import Testing

@Suite("Inboxes and the wait for them", .timeLimit(.minutes(5)))
struct InboxTests {
    private func isReadable(_ inbox: Inbox<Int>, within limit: Duration = .zero) -> Bool {
        var polled = PollSet<Void>()
        polled.add(inbox.descriptor, for: ())
        return polled.wait(limit) > 0
    }

    @Test("messages are taken in order, once; the descriptor is readable while some wait")
    func order() throws {
        let inbox = try Inbox<Int>()
        #expect(!isReadable(inbox) && inbox.take() == [])
        #expect(inbox.send([1, 2]) && inbox.send([3]) && inbox.count == 3 && isReadable(inbox))
        #expect(inbox.take() == [1, 2, 3] && !isReadable(inbox) && inbox.take() == [])
        inbox.wake()
        #expect(isReadable(inbox) && inbox.take() == [] && !isReadable(inbox))
    }

    @Test("what waits goes back to the one that closes the inbox; its thread learns of the end")
    func close() throws {
        let inbox = try Inbox<Int>()
        inbox.send([1])
        #expect(inbox.close() == [1] && inbox.close() == [])
        #expect(!inbox.send([2]) && isReadable(inbox) && inbox.take() == nil)
        #expect(isReadable(inbox) && inbox.take() == nil && inbox.count == 0)
    }

    @Test("no message is missed by a thread that waits, whenever it is sent")
    func race() throws {
        let inbox = try Inbox<Int>()
        let sum = Atomic(0)
        let hasEnded = try Pipe()
        try startThread("taker") {
            var polled = PollSet<Void>()
            polled.add(inbox.descriptor, for: ())
            while let numbers = inbox.take() {
                sum.add(numbers.reduce(0, +), ordering: .relaxed)
                polled.wait(nil)
            }
            try? hasEnded.writeEnd.writeAll([1], to: "pipe")
        }
        for number in 1...20_000 { inbox.send([number]) }
        let rest = inbox.close().reduce(0, +)
        let isReadable = hasEnded.readEnd.isReadable(by: .now + .longWait)
        #expect(isReadable)
        #expect(sum.load(ordering: .relaxed) + rest == 20_000 * 20_001 / 2)
    }

    @Test("a wait does not end before its limit, and says which descriptors are ready for what")
    func limits() throws {
        let pipe = try Pipe()
        var polled = PollSet<String>()
        polled.add(pipe.readEnd.raw, for: "reader")
        let begin = ContinuousClock.now
        let ready = polled.wait(.microseconds(2_500))
        #expect(ready == 0 && polled.ready.isEmpty && .now - begin >= .microseconds(2_500))
        let stillReady = polled.wait(.seconds(-1))
        polled.add(pipe.writeEnd.raw, for: "writer", POLLOUT)
        polled.wait(nil)
        #expect(stillReady == 0 && polled.ready.map(\.source) == ["writer"] && polled.ready.first?.events == POLLOUT)
    }
}
