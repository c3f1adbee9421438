import Channel
import Glibc
import LinuxKernel
import Streams
import Synchronization

/// The host's side of a stream on which the guest sends a greeting first.
protocol GreetedStream: Sendable {
    /// The length of the greeting in bytes.
    var greetingLength: Int { get }
    /// The time that the guest has for it, and for the peer to be ready.
    var greetingLimit: Duration { get }
    /// Whether no stream is wanted any more.
    var isClosed: Bool { get }
    /// The descriptor to join with the stream after this greeting. Must not block.
    /// - Throws: EAGAIN for another attempt a little later; any other error refuses the stream.
    func peer(for greeting: [UInt8]) throws(SystemError) -> FileDescriptor
    func joined(_ handles: [StreamRelay.Handle], by greeter: SocketGreeter)
    /// The stream is refused, and closed already.
    func refuse()
}

/// Reads the greeting of each of a sandbox's streams to and from sockets of the host, and joins it with its peer.
///
/// One thread serves all streams of the sandbox: a guest that opens streams and sends nothing costs descriptors, no
/// threads.
package final class SocketGreeter: Sendable {
    /// A stream of the guest, owned by its holder.
    struct Arrival: Sendable {
        let stream: Int32
        let host: any GreetedStream
    }

    private struct Inbox: Sendable {
        var arrivals: [Arrival] = []
        var isStopped = false
    }
    private let inbox = Mutex(Inbox())
    private let wakeUp: WakeUp
    let relay: StreamRelay
    let limits: LimitLog

    package init(relay: StreamRelay, limits: LimitLog) throws(SystemError) {
        (self.relay, self.limits) = (relay, limits)
        wakeUp = try WakeUp()
        try startThread("sockets") { [self] in run() }
    }

    func take(_ arrival: Arrival) {
        let isStopped = inbox.withLock { inbox in
            if !inbox.isStopped { inbox.arrivals.append(arrival) }
            return inbox.isStopped
        }
        if isStopped { return Waiting(arrival).refuse() }
        wake()
    }

    /// Lets the thread check again which sockets are closed.
    func wake() { wakeUp.signal() }

    package func stop() {
        inbox.withLock { $0.isStopped = true }
        wake()
    }

    // MARK: The thread

    /// A stream that is not joined with its socket yet.
    private struct Waiting {
        let arrival: Arrival
        let deadline: ContinuousClock.Instant
        private(set) var greeting: [UInt8] = []

        init(_ arrival: Arrival) {
            self.arrival = arrival
            deadline = .now + arrival.host.greetingLimit
        }

        /// Whether the guest has sent the whole greeting.
        var isGreeted: Bool { greeting.count == arrival.host.greetingLength }

        func refuse() {
            close(arrival.stream)
            arrival.host.refuse()
        }

        /// Reads the available part of the greeting, and no byte after it.
        /// - Returns: false when the stream has ended.
        mutating func read() -> Bool {
            var chunk = [UInt8](repeating: 0, count: arrival.host.greetingLength - greeting.count)
            let count = unsafe recv(arrival.stream, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            greeting += chunk[..<count]
            return count > 0
        }
    }

    private func run() {
        var waiting: [Waiting] = []
        while true {
            let (arrivals, isStopped) = inbox.withLock { inbox in
                defer { inbox.arrivals = [] }
                return (inbox.arrivals, inbox.isStopped)
            }
            waiting += arrivals.map(Waiting.init)
            if isStopped {
                for each in waiting { each.refuse() }
                return
            }
            let readable = wait(for: waiting)
            var rest: [Waiting] = []
            for (var each, isReadable) in zip(waiting, readable) where !settle(&each, isReadable) { rest.append(each) }
            waiting = rest
        }
    }

    /// The pause between two attempts on a socket whose backlog is full: nothing reports when it has room
    /// (connect(2)).
    private static let retryPause = Duration.milliseconds(20)

    /// Waits for an event. Returns the streams that can be read.
    private func wait(for waiting: [Waiting]) -> [Bool] {
        var polled = waiting.map { each in
            // poll(2) ignores a negative descriptor.
            pollfd(fd: each.isGreeted ? -1 : each.arrival.stream, events: Int16(POLLIN), revents: 0)
        }
        polled.append(pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0))
        var pause = waiting.map { $0.deadline - .now }.min()
        if waiting.contains(where: \.isGreeted) { pause = min(pause ?? Self.retryPause, Self.retryPause) }
        let milliseconds = pause.map { Int32(clamping: Int(max(.zero, $0) / .milliseconds(1)) + 1) } ?? -1
        guard unsafe poll(&polled, nfds_t(polled.count), milliseconds) > 0 else { return waiting.map { _ in false } }
        if polled.last?.revents != 0 { wakeUp.drain() }
        return polled.dropLast().map { $0.revents != 0 }
    }

    /// - Returns: whether the stream is joined or refused.
    private func settle(_ waiting: inout Waiting, _ isReadable: Bool) -> Bool {
        let arrival = waiting.arrival
        guard !arrival.host.isClosed, waiting.deadline > .now, !isReadable || waiting.read() else {
            waiting.refuse()
            return true
        }
        guard waiting.isGreeted else { return false }
        do {
            let peer = try arrival.host.peer(for: waiting.greeting)
            arrival.host.joined(relay.join(FileDescriptor(owning: arrival.stream), peer), by: self)
        } catch {
            if error.code == EAGAIN { return false }
            waiting.refuse()
        }
        return true
    }
}
