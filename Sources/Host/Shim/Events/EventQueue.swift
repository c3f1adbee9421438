import ShimAPI

/// Events that wait to be forwarded, bounded by number and size.
///
/// A full queue drops an event: first out-of-memory reports, which a guest can cause, and exits last. It drops the
/// oldest of these.
struct EventQueue: Sendable {
    typealias Envelope = Containerd_Services_Events_Ttrpc_V1_Envelope

    static let maxEvents = 2048
    static let maxBytes = 4 << 20

    private enum Rank: Int, CaseIterable {
        case outOfMemory, change, exit

        init(_ topic: String) {
            switch topic {
            case "/tasks/oom": self = .outOfMemory
            case "/tasks/exit", "/tasks/delete": self = .exit
            default: self = .change
            }
        }
    }

    private struct Waiting {
        let event: Envelope
        let rank: Rank
        var bytes: Int { event.topic.utf8.count + event.event.value.count }
    }

    private var waiting: [Waiting] = []
    /// Number of waiting events, by rank.
    private var counts = Rank.allCases.map { _ in 0 }
    private(set) var bytes = 0

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }

    /// - Returns: topics of the dropped events, which may include this one.
    mutating func append(_ event: Envelope) -> [String] {
        let new = Waiting(event: event, rank: Rank(event.topic))
        waiting.append(new)
        counts[new.rank.rawValue] += 1
        bytes += new.bytes
        var dropped: [String] = []
        while waiting.count > Self.maxEvents || bytes > Self.maxBytes,
            let least = Rank.allCases.first(where: { counts[$0.rawValue] > 0 }),
            let index = waiting.firstIndex(where: { $0.rank == least })
        {
            dropped.append(remove(at: index).topic)
        }
        return dropped
    }

    mutating func popFirst() -> Envelope? { waiting.isEmpty ? nil : remove(at: 0) }

    private mutating func remove(at index: Int) -> Envelope {
        let removed = waiting.remove(at: index)
        counts[removed.rank.rawValue] -= 1
        bytes -= removed.bytes
        return removed.event
    }
}
