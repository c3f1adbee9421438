import FoundationEssentials
import LinuxKernel

extension Ledger {
    /// What a ledger's file says: a head, then one JSON object a line, of something made, or of something undone. A number that comes again stands for what its last line says.
    struct Page: Sendable, Equatable {
        struct Head: Codable, Equatable, Sendable {
            /// Of this format.
            let version: Int
            /// The host's boot in which it was written (/proc/sys/kernel/random/boot_id).
            let boot: String
            /// Where the numbers of its processes belong; nil of a version that didn't tell.
            var processes: ProcessNamespace?
        }
        struct Line: Codable, Equatable, Sendable {
            let number: Int
            /// nil: what has this number is undone.
            var entry: Entry?
        }
        static let version = 1

        let head: Head
        /// What is not undone, in order.
        private(set) var lines: [Line] = []
        private(set) var last = 0

        init(boot: String, processes: ProcessNamespace? = .own) {
            head = Head(version: Self.version, boot: boot, processes: processes)
        }

        /// Reads what can be read: a line that a crash or a full disk has cut short is as good as not written, one of a kind that only
        /// a later version knows is left to that.
        /// - Returns: nil when this is no ledger.
        init?(_ bytes: [UInt8]) {
            let texts = bytes.split(separator: UInt8(ascii: "\n"))
            guard let first = texts.first, let head = try? JSONDecoder().decode(Head.self, from: Data(first)) else {
                return nil
            }
            self.head = head
            for text in texts.dropFirst() {
                if let line = try? JSONDecoder().decode(Line.self, from: Data(text)) { apply(line) }
            }
        }

        /// Not of a later version.
        var isKnown: Bool { head.version <= Self.version }

        mutating func apply(_ line: Line) {
            last = max(last, line.number)
            guard line.entry != nil else {
                lines.removeAll { $0.number == line.number }
                return
            }
            // Another thing in the place of that.
            if let index = lines.firstIndex(where: { $0.number == line.number }) {
                lines[index] = line
            } else {
                lines.append(line)
            }
        }

        /// The whole of it, without what is undone.
        var bytes: [UInt8] { Self.encode(head) + lines.flatMap { Self.encode($0) } }

        /// The newline comes first: it ends whatever was cut short before.
        static func encode(_ value: some Encodable) -> [UInt8] {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return [UInt8(ascii: "\n")] + ((try? encoder.encode(value)) ?? Data())
        }
    }
}
