import Glibc
import LinuxKernel
import Synchronization

/// Copies bytes between pairs of descriptors, on one thread for all pairs.
///
/// A stream reads again only after it has written everything, so a slow reader stops the writer at the other end.
/// Nothing is dropped, and the waiting bytes of all streams together are bounded (`share`).
package final class StreamRelay: Sendable {
    /// One direction of a pair, for its owner.
    package final class Handle: Sendable {
        private struct Facts: Sendable {
            var moved = 0
            var ended = false
            var isUnread = false
            var waiters: [@Sendable () -> Void] = []
        }
        private let facts = Mutex(Facts())

        /// The number of bytes that the destination has taken.
        package var moved: Int { facts.withLock { $0.moved } }

        package var hasEnded: Bool { facts.withLock { $0.ended } }

        /// Whether bytes wait for the destination.
        package var isUnread: Bool { facts.withLock { $0.isUnread } }

        /// Calls `body` when the stream has ended, at once if it has ended already.
        package func whenEnded(_ body: @escaping @Sendable () -> Void) {
            let ended = facts.withLock { facts in
                if !facts.ended { facts.waiters.append(body) }
                return facts.ended
            }
            if ended { body() }
        }

        fileprivate func add(_ count: Int) { facts.withLock { $0.moved += count } }
        fileprivate func set(isUnread: Bool) { facts.withLock { $0.isUnread = isUnread } }

        fileprivate func end() {
            let waiters = facts.withLock { facts in
                defer { facts.waiters = [] }
                facts.ended = true
                facts.isUnread = false
                return facts.waiters
            }
            for waiter in waiters { waiter() }
        }
    }

    /// Two descriptors, which are closed when all streams between them have ended.
    private final class Pair: Sendable {
        let one: FileDescriptor
        let other: FileDescriptor

        init(_ one: consuming FileDescriptor, _ other: consuming FileDescriptor) {
            for descriptor in [one.raw, other.raw] {
                _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
            }
            self.one = one
            self.other = other
        }
    }

    /// One direction.
    private final class Stream {
        let handle: Handle
        let source: Int32
        let destination: Int32
        private let terminal: HeldTerminal?
        private var pair: Pair?
        /// The bytes that the destination has not taken yet.
        private var rest: [UInt8] = []
        private var written = 0

        init(_ added: Added) {
            (handle, pair, terminal) = (added.handle, added.pair, added.terminal)
            let (one, other) = (added.pair.one.raw, added.pair.other.raw)
            (source, destination) = added.backwards ? (other, one) : (one, other)
        }

        var waitsForWriter: Bool { written < rest.count }

        var hasEnded: Bool { pair == nil }

        enum Step { case again, ended }

        /// Reads or writes once.
        /// - Returns: `.ended` at the end of the source, or when the destination is gone.
        func move(through space: UnsafeMutableRawBufferPointer) -> Step {
            if waitsForWriter {
                // SAFETY: the bytes are used within the closure only, and `put` doesn't change them.
                let count = unsafe rest.withUnsafeBytes { bytes in
                    unsafe put(UnsafeRawBufferPointer(rebasing: bytes[written...]))
                }
                guard let count else { return .ended }
                written += count
                if !waitsForWriter {
                    (rest, written) = ([], 0)
                    handle.set(isUnread: false)
                }
                return .again
            }
            // SAFETY: read(2) writes at most `space.count` bytes, and only those are used.
            let count = unsafe read(source, space.baseAddress, space.count)
            if count < 0 { return isTransient(errno, of: source) ? .again : .ended }
            guard count > 0, let taken = unsafe put(UnsafeRawBufferPointer(rebasing: space[..<count])) else {
                return .ended
            }
            if taken < count {
                // By copyMemory: a slice of raw memory becomes an array byte by byte.
                rest = unsafe Array(unsafeUninitializedCapacity: count - taken) { bytes, filled in
                    unsafe UnsafeMutableRawBufferPointer(bytes).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: space[taken..<count]))
                    filled = count - taken
                }
                handle.set(isUnread: true)
            }
            return .again
        }

        /// - Returns: the number of bytes that the destination took; nil when it is gone.
        private func put(_ bytes: UnsafeRawBufferPointer) -> Int? {
            // SAFETY: the caller's bytes live until the call returns.
            let count = unsafe write(destination, bytes.baseAddress, bytes.count)
            if count < 0 { return isTransient(errno, of: destination) ? 0 : nil }
            handle.add(count)
            return count
        }

        private func isTransient(_ code: Int32, of end: Int32) -> Bool {
            code == EAGAIN || code == EINTR || (terminal?.isOpenAgain(end, after: code) ?? false)
        }

        /// Ends the stream, once: its descriptors' numbers may be another's afterwards.
        func end() {
            guard pair != nil else { return }
            // Sends end of file on a socket whose other direction may stay open.
            shutdown(destination, Int32(SHUT_WR))
            pair = nil
            handle.end()
        }
    }

    private struct Added: Sendable {
        let handle = Handle()
        let pair: Pair
        var backwards = false
        var terminal: HeldTerminal?
    }

    private enum Message: Sendable {
        case added(Added)
        case ended(Handle)
    }

    private let inbox: Inbox<Message>

    /// Starts the thread that copies.
    /// - Throws: `SystemError` for lack of a descriptor, or when the thread can't be started.
    package init() throws(SystemError) {
        inbox = try Inbox()
        try startThread("stdio") { [self] in run() }
    }

    /// Copies from `source` to `destination` until one of them ends.
    /// - Parameter terminal: of a program in whose terminal one of them is the master.
    @discardableResult
    package func connect(
        from source: consuming FileDescriptor, to destination: consuming FileDescriptor,
        terminal: HeldTerminal? = nil
    ) -> Handle {
        let added = Added(pair: Pair(source, destination), terminal: terminal)
        take([added])
        return added.handle
    }

    /// Copies both ways between two sockets. Each direction ends by itself.
    /// - Returns: the handles of both directions.
    @discardableResult
    package func join(_ one: consuming FileDescriptor, _ other: consuming FileDescriptor) -> [Handle] {
        let pair = Pair(one, other)
        let both = [Added(pair: pair), Added(pair: pair, backwards: true)]
        take(both)
        return both.map(\.handle)
    }

    private func take(_ added: [Added]) {
        let messages = added.map(Message.added)
        if !inbox.send(messages) { Self.refuse(messages) }
    }

    private static func refuse(_ messages: [Message]) {
        for case .added(let added) in messages { added.handle.end() }
    }

    /// Ends a stream from this side. Drops bytes that were read but not written.
    package func end(_ handle: Handle) { inbox.send([.ended(handle)]) }

    /// Ends all streams. Later ones end at once.
    package func stop() { Self.refuse(inbox.close()) }

    /// The maximum of a stream, and of all streams together, in bytes.
    private static let maxBytes = 64 << 10
    private static let maxTotalBytes = 8 << 20

    /// The number of bytes that a stream reads at once, which may wait for its reader. It is 64 KiB with up to 128
    /// streams, then less, at least 1 KiB.
    ///
    /// A waiting stream keeps its bytes when more streams come, so the nth largest has at most 8 MiB ÷ n. All 8192
    /// streams have at most 8 MiB × (1 + ln(8192 ÷ 128)), which is 42 MiB.
    static func share(among streams: Int) -> Int {
        max(1 << 10, min(maxBytes, maxTotalBytes / max(1, streams)))
    }

    private func run() {
        signal(SIGPIPE, SIG_IGN)
        var streams: [Stream] = []
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.maxBytes, alignment: 16)
        // SAFETY: no stream keeps the space beyond its move.
        defer { unsafe space.deallocate() }
        var polled = PollSet<Stream?>()
        while let messages = inbox.take() {
            for message in messages {
                switch message {
                case .added(let added): streams.append(Stream(added))
                case .ended(let handle): streams.first { $0.handle === handle }?.end()
                }
            }
            streams.removeAll { $0.hasEnded }

            polled.removeAll()
            polled.add(inbox.descriptor, for: nil)
            for stream in streams {
                if stream.waitsForWriter {
                    polled.add(stream.destination, for: stream, POLLOUT)
                } else {
                    polled.add(stream.source, for: stream)
                }
            }
            guard polled.wait(nil) > 0 else { continue }
            // SAFETY: a share is at most the whole space.
            let share = unsafe UnsafeMutableRawBufferPointer(rebasing: space[..<Self.share(among: streams.count)])
            polled.forEachReady { stream, _ in
                guard let stream else { return }
                if unsafe stream.move(through: share) == .ended { stream.end() }
            }
        }
        for stream in streams { stream.end() }
    }
}
