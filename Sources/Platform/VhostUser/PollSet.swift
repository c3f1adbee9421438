import Glibc

/// Descriptors for poll(2), each with its source. A source keeps its descriptor open, so that the number is not reused
/// before the set is emptied.
struct PollSet<Source> {
    private var polled: [pollfd] = []
    private var sources: [Source] = []

    mutating func removeAll() {
        polled.removeAll(keepingCapacity: true)
        sources.removeAll(keepingCapacity: true)
    }

    mutating func add(_ descriptor: Int32, _ events: Int32, _ source: Source) {
        polled.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
        sources.append(source)
    }

    /// - Parameter milliseconds: -1 waits for ever.
    /// - Returns: the number of ready descriptors; 0 when the time is over, negative when poll(2) failed.
    mutating func wait(_ milliseconds: Int32) -> Int32 { unsafe poll(&polled, nfds_t(polled.count), milliseconds) }

    /// The ready sources with their events, errors and hang-ups included (poll(2)).
    var ready: [(source: Source, events: Int32)] {
        zip(sources, polled).compactMap { $1.revents == 0 ? nil : ($0, Int32($1.revents)) }
    }
}
