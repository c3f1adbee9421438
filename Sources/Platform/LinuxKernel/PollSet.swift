import Glibc

/// Descriptors for poll(2), each with its source. The caller keeps them open until the wait is over; where they may be
/// closed meanwhile, the source holds them.
///
/// Loops that move bytes call it for each piece: it becomes a part of each caller, made for the caller's own type.
package struct PollSet<Source> {
    @usableFromInline var polled: [pollfd] = []
    @usableFromInline var sources: [Source] = []

    @inlinable package init() {}

    @inlinable @inline(__always) package mutating func removeAll() {
        polled.removeAll(keepingCapacity: true)
        sources.removeAll(keepingCapacity: true)
    }

    /// - Parameter events: POLLIN, POLLOUT or both; none waits for an error or a hang-up alone.
    @inlinable @inline(__always) package mutating func add(
        _ descriptor: Int32, for source: Source, _ events: Int32 = POLLIN
    ) {
        polled.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
        sources.append(source)
    }

    /// Waits until a descriptor is ready.
    /// - Parameter limit: rounded up to milliseconds; nil waits for ever.
    /// - Returns: the number of ready descriptors; 0 when the time is over, negative when poll(2) failed, as by a
    ///   signal.
    @discardableResult
    @inlinable @inline(__always) package mutating func wait(_ limit: Duration?) -> Int32 {
        // SAFETY: `polled` has as many elements as poll(2) may change.
        unsafe poll(&polled, nfds_t(polled.count), limit.map(Self.milliseconds) ?? -1)
    }

    /// The number that poll(2) takes: a wait doesn't end before `limit`.
    @usableFromInline static func milliseconds(_ limit: Duration) -> Int32 {
        guard limit > .zero else { return 0 }
        let (seconds, attoseconds) = limit.components
        guard seconds < Int64(Int32.max) / 1000 else { return .max }
        let perMillisecond: Int64 = 1_000_000_000_000_000
        return Int32(seconds * 1000 + (attoseconds + perMillisecond - 1) / perMillisecond)
    }

    /// Calls `body` with the ready sources of the last wait, and their events, errors and hang-ups included (poll(2)).
    @inlinable @inline(__always) package func forEachReady(_ body: (_ source: Source, _ events: Int32) -> Void) {
        for index in polled.indices where polled[index].revents != 0 {
            body(sources[index], Int32(polled[index].revents))
        }
    }

    /// The ready sources of the last wait, with their events.
    @inlinable package var ready: [(source: Source, events: Int32)] {
        var ready: [(source: Source, events: Int32)] = []
        forEachReady { ready.append(($0, $1)) }
        return ready
    }
}
