import Glibc
import Linux
import Synchronization

/// Moves bytes between a manager's fifos and the guest's streams, on one thread for all streams of a sandbox.
///
/// A stream reads only when its buffer is empty and writes only while it is not, so a slow reader stops the writer in the guest:
/// nothing is dropped, nothing grows.
package final class StreamRelay: Sendable {
    /// One direction. Both descriptors belong to the relay and close when the stream ends.
    private final class Stream {
        let identifier: Int
        let source: Int32
        let destination: Int32
        let finished: @Sendable () -> Void
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var filled = 0
        var written = 0

        init(_ identifier: Int, _ source: Int32, _ destination: Int32, _ finished: @escaping @Sendable () -> Void) {
            self.identifier = identifier
            self.source = source
            self.destination = destination
            self.finished = finished
        }

        var waitsForWriter: Bool { written < filled }

        enum Step { case again, ended }

        /// Makes one move; `.ended` when the source is at its end or the destination is gone.
        func move() -> Step {
            if waitsForWriter {
                let count = buffer.withUnsafeBytes { write(destination, $0.baseAddress! + written, filled - written) }
                if count < 0 { return errno == EAGAIN || errno == EINTR ? .again : .ended }
                written += count
                return .again
            }
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
            finished()
        }
    }

    private struct Inbox: Sendable {
        var added: [(identifier: Int, source: Int32, destination: Int32, finished: @Sendable () -> Void)] = []
        var ended: [Int] = []
        var next = 0
        var stopped = false
    }

    private let inbox = Mutex(Inbox())
    private let wake: Pipe

    package init() throws(SystemError) {
        wake = try Pipe(nonBlocking: true)
        detachThread("stdio") { [self] in run() }
    }

    /// Moves everything from `source` to `destination` until one of them ends. Takes both descriptors.
    /// - Returns: a handle for `end`.
    @discardableResult
    package func connect(from source: Int32, to destination: Int32, finished: @escaping @Sendable () -> Void) -> Int {
        let identifier = inbox.withLock { inbox in
            inbox.next += 1
            inbox.added.append((inbox.next, source, destination, finished))
            return inbox.next
        }
        ring()
        return identifier
    }

    /// Ends a stream from this side, such as stdin on CloseIO.
    package func end(_ identifier: Int) {
        inbox.withLock { $0.ended.append(identifier) }
        ring()
    }

    package func stop() {
        inbox.withLock { $0.stopped = true }
        ring()
    }

    private func ring() {
        var one: UInt8 = 1
        _ = write(wake.writeEnd.raw, &one, 1)
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
            streams += news.map { Stream($0.identifier, $0.source, $0.destination, $0.finished) }
            for stream in streams where stopped || ended.contains(stream.identifier) { stream.end() }
            if stopped { return }
            streams.removeAll { ended.contains($0.identifier) }

            var polled = [pollfd(fd: wake.readEnd.raw, events: Int16(POLLIN), revents: 0)]
            for stream in streams {
                polled.append(
                    stream.waitsForWriter
                        ? pollfd(fd: stream.destination, events: Int16(POLLOUT), revents: 0)
                        : pollfd(fd: stream.source, events: Int16(POLLIN), revents: 0))
            }
            if poll(&polled, nfds_t(polled.count), -1) < 0 { continue }
            if polled[0].revents != 0 {
                var rings = [UInt8](repeating: 0, count: 64)
                _ = read(wake.readEnd.raw, &rings, rings.count)
            }
            var finished: Set<Int> = []
            for (stream, result) in zip(streams, polled.dropFirst()) where result.revents != 0 {
                if stream.move() == .ended {
                    stream.end()
                    finished.insert(stream.identifier)
                }
            }
            if !finished.isEmpty { streams.removeAll { finished.contains($0.identifier) } }
        }
    }
}
