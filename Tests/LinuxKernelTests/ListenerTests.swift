import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@Suite("Listener")
struct ListenerTests {
    /// Answers each connection with one byte and closes it.
    @Sendable private static func greet(_ connection: consuming FileDescriptor) {
        try? connection.writeAll([UInt8(ascii: "!")], to: "client")
    }

    private static func isGreeted(_ client: borrowing FileDescriptor, within limit: Duration) throws -> Bool {
        try client.isReadable(by: .now + limit)
            && client.readAll("greeting", limit: 1) == [UInt8(ascii: "!")]
    }

    @Test("accepted connections are close-on-exec, and after a stop clients are refused")
    func stop() throws {
        let scratch = Scratch()
        let path = scratch.path + "/socket"
        let listener = try Listener(unix: path)
        let flags = Mutex<[Int32]>([])
        try listener.forEachConnection(thread: "listener") { connection in
            flags.withLock { $0.append(fcntl(connection.raw, F_GETFD)) }
            Self.greet(connection)
        }
        for _ in 0..<3 { #expect(try Self.isGreeted(try UnixSocket.connect(path), within: .longWait)) }
        #expect(flags.withLock { $0 } == [FD_CLOEXEC, FD_CLOEXEC, FD_CLOEXEC])
        // Another name of the socket, which the stop doesn't remove.
        #expect(link(path, path + "-too") == 0)
        listener.stop()
        #expect(!Files.exists(path))
        let error = #expect(throws: SystemError.self) { _ = try UnixSocket.connect(path + "-too").raw }
        #expect(error?.code == ECONNREFUSED)
    }

    @Test("a stop ends the thread, and with it the socket")
    func stopEndsThread() async throws {
        let scratch = Scratch()
        let received = Mutex(0)
        weak var gone: Listener?
        do {
            let listener = try Listener(unix: scratch.path + "/socket")
            gone = listener
            try listener.forEachConnection(thread: "listener") { _ in received.withLock { $0 += 1 } }
            listener.stop()
        }
        try await eventually { gone == nil }
        #expect(received.withLock { $0 } == 0)
    }

    @Test("without a free descriptor clients wait, no processor time is spent, and later they are served")
    func exhausted() async throws {
        let outcome = try await blocking("exhausted") { try ListenerTests.exhaust() }
        #expect(!outcome.isServedWithoutDescriptor && outcome.areAllServedLater)
        #expect(outcome.microseconds < 100_000, "microseconds of processor time in 400 ms")
    }

    private struct Outcome: Sendable {
        let isServedWithoutDescriptor: Bool
        let microseconds: Int
        let areAllServedLater: Bool
    }

    /// Uses up all descriptors of the calling thread, whose table is its own from now on, and of those that it starts
    /// (unshare(2), CLONE_FILES).
    private static func exhaust() throws -> Outcome {
        try checkNegativeErrno("unshare", "descriptors", clx_unshare(0x400))
        let scratch = Scratch()
        let path = scratch.path + "/socket"
        let listener = try Listener(unix: path)
        let accepting = Mutex<pthread_t?>(nil)
        try listener.forEachConnection(thread: "listener") { connection in
            accepting.withLock { $0 = pthread_self() }
            greet(connection)
        }
        guard try isGreeted(try UnixSocket.connect(path), within: .longWait) else { throw NeverHappened() }
        var used: [Int32] = []
        while case let descriptor = dup(2), descriptor >= 0 { used.append(descriptor) }
        // One for the client; nothing is left for the listener's end.
        close(used.removeLast())
        let client = try UnixSocket.connect(path)

        let before = processorTime(of: accepting.withLock { $0 })
        let isServed = client.isReadable(by: .now + .milliseconds(400))
        let spent = processorTime(of: accepting.withLock { $0 }) - before

        for descriptor in used { close(descriptor) }
        let later =
            try isGreeted(client, within: .longWait)
            && isGreeted(try UnixSocket.connect(path), within: .longWait)
        listener.stop()
        return Outcome(isServedWithoutDescriptor: isServed, microseconds: spent, areAllServedLater: later)
    }

    /// Processor time in microseconds; 0 for no thread.
    private static func processorTime(of thread: pthread_t?) -> Int {
        var clock = clockid_t()
        var time = timespec()
        guard let thread, pthread_getcpuclockid(thread, &clock) == 0, clock_gettime(clock, &time) == 0 else { return 0 }
        return time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    }
}
