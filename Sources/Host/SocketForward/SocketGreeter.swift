import Channel
import Glibc
import LinuxKernel
import Streams

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

    private let inbox: Inbox<Arrival>
    let relay: StreamRelay
    let limits: LimitLog

    /// Starts the thread.
    /// - Throws: `SystemError` when the thread or its descriptor can't be made.
    package init(relay: StreamRelay, limits: LimitLog) throws(SystemError) {
        (self.relay, self.limits) = (relay, limits)
        inbox = try Inbox()
        try startThread("sockets") { [self] in run() }
    }

    func take(_ arrival: Arrival) {
        if !inbox.send([arrival]) { Waiting(arrival).refuse() }
    }

    /// Lets the thread check again which sockets are closed.
    func wake() { inbox.wake() }

    package func stop() { for arrival in inbox.close() { Waiting(arrival).refuse() } }

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
            // SAFETY: recv(2) writes at most `chunk.count` bytes, and only those that it has written are used.
            let count = unsafe recv(arrival.stream, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            greeting += chunk[..<count]
            return count > 0
        }
    }

    private func run() {
        var waiting: [Waiting] = []
        while let arrivals = inbox.take() {
            waiting += arrivals.map(Waiting.init)
            // `take` has consumed the wake that comes with a socket's end: the wait would not see it.
            waiting = waiting.filter { each in
                guard each.arrival.host.isClosed else { return true }
                each.refuse()
                return false
            }
            let readable = wait(for: waiting)
            var rest: [Waiting] = []
            for (index, var each) in waiting.enumerated() where !settle(&each, readable.contains(index)) {
                rest.append(each)
            }
            waiting = rest
        }
        for each in waiting { each.refuse() }
    }

    /// The pause between two attempts on a socket whose backlog is full: nothing reports when it has room
    /// (connect(2)).
    private static let retryPause = Duration.milliseconds(20)

    /// Waits for an event.
    /// - Returns: the indices of the streams that can be read.
    private func wait(for waiting: [Waiting]) -> Set<Int> {
        var polled = PollSet<Int?>()
        polled.add(inbox.descriptor, for: nil)
        for (index, each) in waiting.enumerated() where !each.isGreeted { polled.add(each.arrival.stream, for: index) }
        var pause = waiting.map { $0.deadline - .now }.min()
        if waiting.contains(where: \.isGreeted) { pause = min(pause ?? Self.retryPause, Self.retryPause) }
        return polled.wait(pause) > 0 ? Set(polled.ready.compactMap(\.source)) : []
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
