import Glibc

/// Descriptors for poll(2), each with its source. The caller keeps them open until the wait is over; where they may be
/// closed meanwhile, the source holds them.
package struct PollSet<Source> {
    @usableFromInline var polled: [pollfd] = []
    @usableFromInline var sources: [Source] = []

    @inlinable package init() {}

    @inlinable package mutating func removeAll() {
        polled.removeAll(keepingCapacity: true)
        sources.removeAll(keepingCapacity: true)
    }

    /// - Parameter events: POLLIN, POLLOUT or both; none waits for an error or a hang-up alone.
    @inlinable package mutating func add(_ descriptor: Int32, for source: Source, _ events: Int32 = POLLIN) {
        polled.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
        sources.append(source)
    }

    /// Waits until a descriptor is ready.
    /// - Parameter limit: rounded up to milliseconds; nil waits for ever.
    /// - Returns: the number of ready descriptors; 0 when the time is over, negative when poll(2) failed, as by a
    ///   signal.
    @discardableResult
    @inlinable package mutating func wait(_ limit: Duration?) -> Int32 {
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

    /// The ready sources of the last wait, with their events, errors and hang-ups included (poll(2)).
    @inlinable package var ready: [(source: Source, events: Int32)] {
        zip(sources, polled).compactMap { $1.revents == 0 ? nil : ($0, Int32($1.revents)) }
    }
}
