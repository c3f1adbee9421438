/// TOML 1.0 (toml.io/en/v1.0.0), read to its end or refused with a line; dates and times, which no key has, are refused.
enum TOML {
    indirect enum Value {
        case text(String)
        case integer(Int64)
        case number(Double)
        case flag(Bool)
        case list([Value])
        case table(Table)
    }

    final class Table {
        /// Who made it decides what may be added to it.
        enum Maker { case header, path, dots, braces }
        fileprivate(set) var maker: Maker
        private(set) var names: [String] = []
        private var entries: [String: (value: Value, line: Int)] = [:]

        fileprivate init(_ maker: Maker) { self.maker = maker }

        subscript(name: String) -> (value: Value, line: Int)? { entries[name] }

        fileprivate func set(_ name: String, _ value: Value, _ line: Int) {
            if entries.updateValue((value, line), forKey: name) == nil { names.append(name) }
        }
    }

    struct Failure: Error, Equatable {
        let line: Int
        let reason: String
    }

    static func read(_ text: String) throws(Failure) -> Table {
        var reader = Reader(text)
        return try reader.document()
    }

    /// A value that stands alone.
    static func value(_ text: String) throws(Failure) -> Value {
        var reader = Reader(text)
        return try reader.onlyValue()
    }
}

extension TOML.Value {
    var list: [Self]? { if case .list(let list) = self { list } else { nil } }
    var text: String? { if case .text(let text) = self { text } else { nil } }
    var flag: Bool? { if case .flag(let flag) = self { flag } else { nil } }
    var table: TOML.Table? { if case .table(let table) = self { table } else { nil } }
    var number: Double? {
        switch self {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }
}

private struct Reader {
    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private var depth = 0
    private static let deepest = 64

    init(_ text: String) {
        bytes = Array(text.utf8)
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { index = 3 }
    }

    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }
    private func failure(_ reason: String) -> TOML.Failure { TOML.Failure(line: line, reason: reason) }

    private mutating func take(_ text: StaticString) -> Bool {
        let wanted = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        guard bytes[index...].starts(with: wanted) else { return false }
        index += wanted.count
        return true
    }

    private mutating func newline() -> Bool {
        guard take("\n") || take("\r\n") else { return false }
        line += 1
        return true
    }

    private mutating func blanks() { while next == 0x20 || next == 0x09 { index += 1 } }

    private mutating func comment() throws(TOML.Failure) {
        blanks()
        guard next == UInt8(ascii: "#") else { return }
        while let byte = next, byte != 0x0a {
            if byte < 0x20 && byte != 0x09 && byte != 0x0d || byte == 0x7f {
                throw failure("a control character in a comment")
            }
            index += 1
        }
    }

    /// Blanks, comments and newlines.
    private mutating func gap() throws(TOML.Failure) {
        repeat { try comment() } while newline()
    }

    private mutating func lineEnd() throws(TOML.Failure) {
        try comment()
        guard next == nil || newline() else { throw failure("more than one value, or something behind it") }
    }

    // MARK: Tables

    mutating func document() throws(TOML.Failure) -> TOML.Table {
        let root = TOML.Table(.header)
        var current = root
        while true {
            try gap()
            guard let byte = next else { return root }
            if byte == UInt8(ascii: "[") { current = try header(root) } else { try pair(into: current) }
            try lineEnd()
        }
    }

    mutating func onlyValue() throws(TOML.Failure) -> TOML.Value {
        blanks()
        let found = try value()
        try gap()
        guard next == nil else { throw failure("more than one value, or something behind it") }
        return found
    }

    private mutating func header(_ root: TOML.Table) throws(TOML.Failure) -> TOML.Table {
        let isElement = take("[[")
        if !isElement { index += 1 }
        let path = try key()
        guard isElement ? take("]]") : take("]") else { throw failure("a table's name that does not end with ]") }
        var table = root
        for name in path.dropLast() { table = try enter(name, of: table, making: .path) }
        let name = path[path.count - 1]
        switch table[name]?.value {
        case nil:
            let made = TOML.Table(.header)
            table.set(name, isElement ? .list([.table(made)]) : .table(made), line)
            return made
        case .table(let found) where !isElement && found.maker == .path:
            found.maker = .header
            return found
        case .list(let elements) where isElement && elements.last?.table?.maker == .header:
            let made = TOML.Table(.header)
            table.set(name, .list(elements + [.table(made)]), line)
            return made
        default: throw failure("\(path.joined(separator: ".")) is there already")
        }
    }

    private func enter(_ name: String, of table: TOML.Table, making maker: TOML.Table.Maker) throws(TOML.Failure)
        -> TOML.Table
    {
        switch table[name]?.value {
        case nil:
            let made = TOML.Table(maker)
            table.set(name, .table(made), line)
            return made
        case .table(let found) where maker == .dots ? found.maker == .dots : found.maker != .braces: return found
        case .list(let elements) where maker == .path:
            if let last = elements.last?.table, last.maker == .header { return last }
        default: break
        }
        throw failure("\(name) is there already, and nothing can be added to it")
    }

    private mutating func pair(into table: TOML.Table) throws(TOML.Failure) {
        let path = try key()
        guard take("=") else { throw failure("expected = behind \(path.joined(separator: "."))") }
        blanks()
        let start = line
        let found = try value()
        var table = table
        for name in path.dropLast() { table = try enter(name, of: table, making: .dots) }
        let name = path[path.count - 1]
        if let first = table[name] { throw failure("\(name) is set twice, on line \(first.line) too") }
        table.set(name, found, start)
    }

    private mutating func key() throws(TOML.Failure) -> [String] {
        var names: [String] = []
        repeat {
            blanks()
            switch next {
            case UInt8(ascii: "\""): names.append(try basic())
            case UInt8(ascii: "'"): names.append(try literal())
            default:
                let start = index
                while let byte = next, Self.isWord(byte) { index += 1 }
                guard index > start else { throw failure("expected a name") }
                names.append(String(decoding: bytes[start..<index], as: UTF8.self))
            }
            blanks()
        } while take(".")
        return names
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    // MARK: Values

    private mutating func value() throws(TOML.Failure) -> TOML.Value {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else { throw failure("values within values, more than \(Self.deepest)") }
        switch next {
        case UInt8(ascii: "\""):
            return .text(take("\"\"\"") ? try block(quote: UInt8(ascii: "\"")) : try basic())
        case UInt8(ascii: "'"): return .text(take("'''") ? try block(quote: UInt8(ascii: "'")) : try literal())
        case UInt8(ascii: "["): return .list(try list())
        case UInt8(ascii: "{"): return .table(try braces())
        default: return try word()
        }
    }

    private mutating func list() throws(TOML.Failure) -> [TOML.Value] {
        index += 1
        var found: [TOML.Value] = []
        while true {
            try gap()
            if take("]") { return found }
            found.append(try value())
            try gap()
            if take("]") { return found }
            guard take(",") else { throw failure("a list without , or ]") }
        }
    }

    private mutating func braces() throws(TOML.Failure) -> TOML.Table {
        index += 1
        let table = TOML.Table(.dots)
        blanks()
        if !take("}") {
            repeat { try pair(into: table) } while try another()
        }
        table.maker = .braces
        return table
    }

    private mutating func another() throws(TOML.Failure) -> Bool {
        blanks()
        if take("}") { return false }
        guard take(",") else { throw failure("a table in braces without , or }") }
        return true
    }

    /// true, false, or a number.
    private mutating func word() throws(TOML.Failure) -> TOML.Value {
        let start = index
        while let byte = next, Self.isWord(byte) || [0x2b, 0x2e, 0x3a].contains(byte) { index += 1 }
        let word = String(decoding: bytes[start..<index], as: UTF8.self)
        switch word {
        case "": throw failure("expected a value")
        case "true": return .flag(true)
        case "false": return .flag(false)
        case "inf", "+inf": return .number(.infinity)
        case "-inf": return .number(-.infinity)
        case "nan", "+nan", "-nan": return .number(.nan)
        default: break
        }
        guard let number = Self.integer(word) ?? Self.decimal(word) else {
            throw failure("\(word) is no value: text stands in quotes")
        }
        return number
    }

    private static func integer(_ word: String) -> TOML.Value? {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where word.hasPrefix(prefix) {
            return digits(word.dropFirst(2)).flatMap { Int64($0, radix: radix) }.map { .integer($0) }
        }
        let signed = word.hasPrefix("+") || word.hasPrefix("-")
        let figures = signed ? word.dropFirst() : word[...]
        guard figures.allSatisfy({ $0.isASCII && $0.isNumber || $0 == "_" }), isPlain(figures),
            let plain = digits(figures)
        else {
            return nil
        }
        return Int64((word.hasPrefix("-") ? "-" : "") + plain).map { .integer($0) }
    }

    private static func decimal(_ word: String) -> TOML.Value? {
        let unsigned = word.hasPrefix("+") || word.hasPrefix("-") ? word.dropFirst() : word[...]
        let parts = unsigned.split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == "e" || $0 == "E" }
        let mantissa = parts[0].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard isPlain(mantissa[0]), parts.count == 2 || mantissa.count == 2 else { return nil }
        var pieces = mantissa
        if parts.count == 2 {
            pieces.append(parts[1].first == "+" || parts[1].first == "-" ? parts[1].dropFirst() : parts[1])
        }
        guard pieces.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isNumber || $0 == "_" } && digits($0) != nil })
        else { return nil }
        return Double(String(word.filter { $0 != "_" })).map { .number($0) }
    }

    private static func isPlain(_ figures: Substring) -> Bool { figures.count == 1 || !figures.hasPrefix("0") }

    /// Without the underscores, each of which stands between two digits.
    private static func digits(_ text: Substring) -> String? {
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        return parts.allSatisfy { !$0.isEmpty && $0.first != "-" && $0.first != "+" } ? parts.joined() : nil
    }

    // MARK: Text

    private mutating func literal() throws(TOML.Failure) -> String {
        index += 1
        let start = index
        while let byte = next, byte != UInt8(ascii: "'") { try character(byte) }
        guard next != nil else { throw failure("text that does not end") }
        index += 1
        return String(decoding: bytes[start..<index - 1], as: UTF8.self)
    }

    private mutating func basic() throws(TOML.Failure) -> String {
        index += 1
        var text: [UInt8] = []
        while let byte = next, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                try escape(into: &text)
            } else {
                try character(byte)
                text.append(byte)
            }
        }
        guard take("\"") else { throw failure("text that does not end") }
        return String(decoding: text, as: UTF8.self)
    }

    /// Of several lines, behind its three quotes.
    private mutating func block(quote: UInt8) throws(TOML.Failure) -> String {
        _ = newline()
        var text: [UInt8] = []
        while let byte = next {
            if byte == quote, bytes[index...].prefix(3).elementsEqual([quote, quote, quote]) {
                index += 3
                // Up to two more are the text's own.
                for _ in 0..<2 where next == quote {
                    text.append(quote)
                    index += 1
                }
                return String(decoding: text, as: UTF8.self)
            }
            if newline() {
                text.append(0x0a)
            } else if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                if try !continuation() { try escape(into: &text) }
            } else {
                try character(byte)
                text.append(byte)
            }
        }
        throw failure("text that does not end")
    }

    /// A backslash at a line's end takes away all blanks and newlines up to what follows.
    private mutating func continuation() throws(TOML.Failure) -> Bool {
        var end = index + 1
        while end < bytes.count, bytes[end] == 0x20 || bytes[end] == 0x09 { end += 1 }
        guard end < bytes.count, bytes[end] == 0x0a || bytes[end] == 0x0d else { return false }
        index = end
        while newline() { blanks() }
        return true
    }

    private mutating func character(_ byte: UInt8) throws(TOML.Failure) {
        guard byte >= 0x20 && byte != 0x7f || byte == 0x09 else {
            throw failure("a control character, or a text that does not end")
        }
        index += 1
    }

    private mutating func escape(into text: inout [UInt8]) throws(TOML.Failure) {
        index += 1
        guard let letter = next else { throw failure("text that does not end") }
        index += 1
        switch letter {
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(letter)
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            let count = letter == UInt8(ascii: "u") ? 4 : 8
            let digits = bytes[min(index, bytes.count)...].prefix(count)
            guard digits.count == count, digits.allSatisfy({ Self.isWord($0) && $0 != UInt8(ascii: "-") }),
                let scalar = UInt32(String(decoding: digits, as: UTF8.self), radix: 16).flatMap(Unicode.Scalar.init)
            else { throw failure("a \\u that names no character") }
            index += count
            text += Array(String(Character(scalar)).utf8)
        default: throw failure("a backslash before something else than b t n f r u U \\ or a quote")
        }
    }
}
