import Glibc

/// Descriptors to wait for, each with what it stands for. A source keeps its descriptor open: the number is nobody else's before the set is
/// emptied.
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

    /// - Parameter milliseconds: -1: for ever.
    /// - Returns: how many are ready; 0 when the time is over, negative when poll(2) failed.
    mutating func wait(_ milliseconds: Int32) -> Int32 { poll(&polled, nfds_t(polled.count), milliseconds) }

    /// Those that are ready, and for what (poll(2)): also an error or a hang-up.
    var ready: [(source: Source, events: Int32)] {
        zip(sources, polled).compactMap { $1.revents == 0 ? nil : ($0, Int32($1.revents)) }
    }
}
