import Glibc
import Synchronization

/// Moves bytes between pairs of descriptors, on one thread for all pairs.
///
/// A stream reads only when its buffer is empty and writes only while it is not, so a slow reader stops the writer at the other end:
/// nothing is dropped, nothing grows.
package final class StreamRelay: Sendable {
    /// A pair of descriptors as its owner sees it.
    package final class Handle: Sendable {
        private struct Facts: Sendable {
            var moved = 0
            var ended = false
            var waiters: [@Sendable () -> Void] = []
        }
        private let facts = Mutex(Facts())

        /// Bytes that have arrived.
        package var moved: Int { facts.withLock { $0.moved } }

        /// Calls `body` once the stream has ended; at once when it has already.
        package func whenEnded(_ body: @escaping @Sendable () -> Void) {
            let ended = facts.withLock { facts in
                if !facts.ended { facts.waiters.append(body) }
                return facts.ended
            }
            if ended { body() }
        }

        fileprivate func add(_ count: Int) { facts.withLock { $0.moved += count } }

        fileprivate func end() {
            let waiters = facts.withLock { facts in
                defer { facts.waiters = [] }
                facts.ended = true
                return facts.waiters
            }
            for waiter in waiters { waiter() }
        }
    }

    /// One direction. Both descriptors belong to the relay and close when the stream ends.
    private final class Stream {
        let handle: Handle
        let source: Int32
        let destination: Int32
        var buffer: [UInt8] = []
        var filled = 0
        var written = 0

        init(_ handle: Handle, _ source: Int32, _ destination: Int32) {
            self.handle = handle
            self.source = source
            self.destination = destination
        }

        var waitsForWriter: Bool { written < filled }

        enum Step { case again, ended }

        /// Makes one move; `.ended` when the source is at its end or the destination is gone.
        func move() -> Step {
            if waitsForWriter {
                let count = buffer.withUnsafeBytes { write(destination, $0.baseAddress! + written, filled - written) }
                if count < 0 { return errno == EAGAIN || errno == EINTR ? .again : .ended }
                written += count
                handle.add(count)
                return .again
            }
            if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: 64 << 10) }
            let count = buffer.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
            if count < 0 { return errno == EAGAIN || errno == EINTR ? .again : .ended }
            if count == 0 { return .ended }
            filled = count
            written = 0
            return .again
        }

        func end() {
            // A socket to the guest must tell its end even while the other direction is open.
            shutdown(destination, Int32(SHUT_WR))
            close(source)
            close(destination)
            handle.end()
        }
    }

    private struct Inbox: Sendable {
        var added: [(handle: Handle, source: Int32, destination: Int32)] = []
        var ended: [Handle] = []
        var stopped = false
    }

    private let inbox = Mutex(Inbox())
    private let bell: Doorbell

    package init() throws(SystemError) {
        bell = try Doorbell()
        detachThread("stdio") { [self] in run() }
    }

    /// Moves everything from `source` to `destination` until one of them ends. Takes both descriptors.
    @discardableResult
    package func connect(from source: Int32, to destination: Int32) -> Handle {
        for descriptor in [source, destination] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        let handle = Handle()
        inbox.withLock { $0.added.append((handle, source, destination)) }
        bell.ring()
        return handle
    }

    /// Moves everything both ways between two sockets, which it takes.
    package func join(_ one: Int32, _ other: Int32) {
        // Each direction closes its descriptors when it ends.
        let (oneAgain, otherAgain) = (fcntl(one, F_DUPFD_CLOEXEC, 3), fcntl(other, F_DUPFD_CLOEXEC, 3))
        connect(from: one, to: other)
        connect(from: otherAgain, to: oneAgain)
    }

    /// Ends a stream from this side: what was read but not written yet is lost.
    package func end(_ handle: Handle) {
        inbox.withLock { $0.ended.append(handle) }
        bell.ring()
    }

    package func stop() {
        inbox.withLock { $0.stopped = true }
        bell.ring()
    }

    private func run() {
        signal(SIGPIPE, SIG_IGN)
        var streams: [Stream] = []
        while true {
            let (news, ended, stopped) = inbox.withLock { inbox in
                defer {
                    inbox.added = []
                    inbox.ended = []
                }
                return (inbox.added, inbox.ended, inbox.stopped)
            }
            streams += news.map { Stream($0.handle, $0.source, $0.destination) }
            for stream in streams where stopped || ended.contains(where: { $0 === stream.handle }) { stream.end() }
            if stopped { return }
            streams.removeAll { stream in ended.contains { $0 === stream.handle } }

            var polled = [pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)]
            for stream in streams {
                polled.append(
                    stream.waitsForWriter
                        ? pollfd(fd: stream.destination, events: Int16(POLLOUT), revents: 0)
                        : pollfd(fd: stream.source, events: Int16(POLLIN), revents: 0))
            }
            if poll(&polled, nfds_t(polled.count), -1) < 0 { continue }
            if polled[0].revents != 0 { bell.answer() }
            var finished: Set<ObjectIdentifier> = []
            for (stream, result) in zip(streams, polled.dropFirst()) where result.revents != 0 {
                if stream.move() == .ended {
                    stream.end()
                    finished.insert(ObjectIdentifier(stream.handle))
                }
            }
            if !finished.isEmpty { streams.removeAll { finished.contains(ObjectIdentifier($0.handle)) } }
        }
    }
}
