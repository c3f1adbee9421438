import ShimAPI

/// Events that wait to be forwarded, bounded by number and size.
///
/// When it is full an event gives way: one of memory that has run out, which a guest has a hand in, before any other, and the end of a
/// process last. Among equals it is the oldest.
struct EventQueue: Sendable {
    typealias Envelope = Containerd_Services_Events_Ttrpc_V1_Envelope

    static let mostEvents = 2048
    static let mostBytes = 4 << 20

    private enum Rank: Int, CaseIterable {
        case report, change, end

        init(_ topic: String) {
            switch topic {
            case "/tasks/oom": self = .report
            case "/tasks/exit", "/tasks/delete": self = .end
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
    /// How many wait of each rank.
    private var counts = Rank.allCases.map { _ in 0 }
    private(set) var bytes = 0

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }

    /// - Returns: topics of the events that gave way, which may be this one's.
    mutating func append(_ event: Envelope) -> [String] {
        let new = Waiting(event: event, rank: Rank(event.topic))
        waiting.append(new)
        counts[new.rank.rawValue] += 1
        bytes += new.bytes
        var lost: [String] = []
        while waiting.count > Self.mostEvents || bytes > Self.mostBytes,
            let least = Rank.allCases.first(where: { counts[$0.rawValue] > 0 }),
            let index = waiting.firstIndex(where: { $0.rank == least })
        {
            lost.append(remove(at: index).topic)
        }
        return lost
    }

    mutating func popFirst() -> Envelope? { waiting.isEmpty ? nil : remove(at: 0) }

    private mutating func remove(at index: Int) -> Envelope {
        let gone = waiting.remove(at: index)
        counts[gone.rank.rawValue] -= 1
        bytes -= gone.bytes
        return gone.event
    }
}
