import FoundationEssentials
import LinuxKernel

/// The content of a ledger's file: a header, then one JSON object a line, for a thing that is made or undone.
///
/// A number that comes again replaces its earlier record.
struct Journal: Sendable, Equatable {
    struct Header: Codable, Equatable, Sendable {
        /// The version of this format.
        let version: Int
        /// The boot of the host in which the file was written (/proc/sys/kernel/random/boot_id).
        let boot: String
        /// The namespace of the pids in the file; nil in files of early versions.
        var processes: ProcessNamespace?
    }

    struct Record: Codable, Equatable, Sendable {
        let number: Int
        /// nil: the thing with this number is undone.
        var entry: Ledger.Entry?
    }

    static let version = 1

    let header: Header
    /// The records that are not undone, in order.
    private(set) var records: [Record] = []
    /// The highest number so far.
    private(set) var last = 0

    init(boot: String, processes: ProcessNamespace? = .own) {
        header = Header(version: Self.version, boot: boot, processes: processes)
    }

    /// Reads a file. Ignores a record that a crash or a full disk has truncated, and one of a kind that only later
    /// versions know.
    /// - Returns: nil when the bytes are no journal.
    init?(_ bytes: [UInt8]) {
        let lines = bytes.split(separator: UInt8(ascii: "\n"))
        guard let first = lines.first, let header = try? JSONDecoder().decode(Header.self, from: Data(first)) else {
            return nil
        }
        self.header = header
        for line in lines.dropFirst() {
            if let record = try? JSONDecoder().decode(Record.self, from: Data(line)) { apply(record) }
        }
    }

    /// Whether this version of the program understands the file.
    var isKnown: Bool { header.version <= Self.version }

    mutating func apply(_ record: Record) {
        last = max(last, record.number)
        guard record.entry != nil else {
            records.removeAll { $0.number == record.number }
            return
        }
        if let index = records.firstIndex(where: { $0.number == record.number }) {
            records[index] = record
        } else {
            records.append(record)
        }
    }

    /// The whole file, without the records that are undone.
    var bytes: [UInt8] { Self.encode(header) + records.flatMap { Self.encode($0) } }

    /// Encodes one line. The newline comes first: it ends a line that was truncated before.
    static func encode(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8(ascii: "\n")] + ((try? encoder.encode(value)) ?? Data())
    }
}

extension Journal {
    /// Whether the file was written since the host's last start. True when that is unknown: its processes are checked
    /// then.
    var isOfThisBoot: Bool { Ledger.currentBoot.map { $0 == header.boot } ?? true }

    /// The records that this process can undo: no pids of another pid namespace, and after a restart of the host only
    /// files.
    var recordsToUndo: [Record] {
        guard isOfThisBoot else { return records.filter { $0.entry?.thing.survivesRestart == true } }
        return header.processes?.isForeign == true ? records.filter { $0.entry?.thing.isProcess == false } : records
    }

    /// The things of one kind, in order.
    func things<Thing: Undoable>(_ kind: Thing.Type) -> [Thing] { records.compactMap { $0.entry?.thing as? Thing } }

    /// The socket on which the sandbox's shim listens; nil until it does.
    var socket: String? { things(Ledger.Socket.self).first?.path }

    enum OwnerState: Equatable {
        /// The owner lives.
        case process(ProcessIdentity)
        /// The owner's pid belongs to another pid or time namespace, where it may live.
        case elsewhere
        case ended
    }

    var owner: OwnerState {
        guard isOfThisBoot else { return .ended }
        if let processes = header.processes, processes.isForeign {
            return processes.mayHold(listener: socket) ? .elsewhere : .ended
        }
        let living = things(Ledger.Owner.self).first { $0.id.life != .ended }
        return living.map { .process($0.id) } ?? .ended
    }
}
