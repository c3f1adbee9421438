/// Reads a document: tables, keys and values.
struct TOMLReader {
    private var cursor: TOMLCursor
    private var depth = 0
    /// Maximum depth of values in values: the reader is recursive.
    private static let maxDepth = 64

    init(_ bytes: [UInt8]) throws(TOML.Failure) { cursor = try TOMLCursor(bytes) }

    mutating func document() throws(TOML.Failure) -> TOML.Table {
        let root = TOML.Table(.header)
        var current = root
        while true {
            try cursor.gap()
            guard let byte = cursor.next else { return root }
            if byte == UInt8(ascii: "[") { current = try header(in: root) } else { try pair(into: current) }
            try cursor.lineEnd()
        }
    }

    mutating func onlyValue() throws(TOML.Failure) -> TOML.Value {
        cursor.blanks()
        let found = try value()
        try cursor.gap()
        guard cursor.next == nil else { throw cursor.failure("more than one value, or something behind it") }
        return found
    }

    // MARK: Tables

    /// Reads `[a.b]` or `[[a.b]]`.
    /// - Returns: the table that it begins.
    private mutating func header(in root: TOML.Table) throws(TOML.Failure) -> TOML.Table {
        let isElement = cursor.take("[[")
        if !isElement { cursor.index += 1 }
        let path = try key()
        guard cursor.take(isElement ? "]]" : "]") else {
            throw cursor.failure("a table's name that does not end with ]")
        }
        var table = root
        for name in path.dropLast() { table = try enter(name, of: table, by: .headerPath) }
        let name = path[path.count - 1]
        let new = TOML.Table(.header)
        switch table[name]?.value {
        case nil: table.set(name, isElement ? .array([.table(new)]) : .table(new), cursor.line)
        case .table(let found) where !isElement && found.definedBy == .headerPath:
            found.definedBy = .header
            return found
        case .array(let elements) where isElement && elements.last?.table?.definedBy == .header:
            table.set(name, .array(elements + [.table(new)]), cursor.line)
        default: throw cursor.failure("\(path.joined(separator: ".")) is there already")
        }
        return new
    }

    /// The table of a name within a path, made if there is none.
    private func enter(_ name: String, of table: TOML.Table, by syntax: TOML.Table.Definition) throws(TOML.Failure)
        -> TOML.Table
    {
        switch table[name]?.value {
        case nil:
            let new = TOML.Table(syntax)
            table.set(name, .table(new), cursor.line)
            return new
        case .table(let found) where syntax == .dottedKey && found.definedBy == .dottedKey: return found
        case .table(let found) where syntax == .headerPath && found.definedBy != .inline: return found
        case .array(let elements) where syntax == .headerPath:
            if let last = elements.last?.table, last.definedBy == .header { return last }
        default: break
        }
        throw cursor.failure("\(name) is there already, and nothing can be added to it")
    }

    /// Reads `a.b = value`.
    private mutating func pair(into table: TOML.Table) throws(TOML.Failure) {
        let path = try key()
        guard cursor.take("=") else { throw cursor.failure("expected = behind \(path.joined(separator: "."))") }
        cursor.blanks()
        let line = cursor.line
        let found = try value()
        var table = table
        for name in path.dropLast() { table = try enter(name, of: table, by: .dottedKey) }
        let name = path[path.count - 1]
        if let first = table[name] { throw cursor.failure("\(name) is set twice, on line \(first.line) too") }
        table.set(name, found, line)
    }

    /// Reads `a."b".'c'`, and the blanks around it.
    private mutating func key() throws(TOML.Failure) -> [String] {
        var names: [String] = []
        repeat {
            cursor.blanks()
            if let quote = cursor.next, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                names.append(try cursor.line(quote: quote))
            } else {
                let name = cursor.word()
                guard !name.isEmpty else { throw cursor.failure("expected a name") }
                names.append(name)
            }
            cursor.blanks()
        } while cursor.take(".")
        return names
    }

    // MARK: Values

    private mutating func value() throws(TOML.Failure) -> TOML.Value {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maxDepth else { throw cursor.failure("values within values, more than \(Self.maxDepth)") }
        switch cursor.next {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try cursor.string())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "{"): return .table(try inlineTable())
        default: return try plainValue()
        }
    }

    private mutating func array() throws(TOML.Failure) -> [TOML.Value] {
        cursor.index += 1
        var found: [TOML.Value] = []
        while true {
            try cursor.gap()
            if cursor.take("]") { return found }
            found.append(try value())
            try cursor.gap()
            if cursor.take("]") { return found }
            guard cursor.take(",") else { throw cursor.failure("a list without , or ]") }
        }
    }

    private mutating func inlineTable() throws(TOML.Failure) -> TOML.Table {
        cursor.index += 1
        let table = TOML.Table(.dottedKey)
        cursor.blanks()
        if !cursor.take("}") {
            repeat { try pair(into: table) } while try hasAnotherPair()
        }
        Self.complete(table)
        return table
    }

    /// Nothing outside the braces may add to the table, nor to those of its dotted keys.
    private static func complete(_ table: TOML.Table) {
        table.definedBy = .inline
        for name in table.names {
            if let inner = table[name]?.value.table, inner.definedBy == .dottedKey { complete(inner) }
        }
    }

    private mutating func hasAnotherPair() throws(TOML.Failure) -> Bool {
        cursor.blanks()
        if cursor.take("}") { return false }
        guard cursor.take(",") else { throw cursor.failure("a table in braces without , or }") }
        return true
    }

    /// Reads true, false, a number, a date or a time.
    private mutating func plainValue() throws(TOML.Failure) -> TOML.Value {
        var word = cursor.word(and: "+.:")
        switch word {
        case "": throw cursor.failure("expected a value")
        case "true": return .bool(true)
        case "false": return .bool(false)
        default: break
        }
        if let number = TOMLNumber.value(word) { return number }
        if TOMLTime(word)?.kind == .localDate, cursor.next == UInt8(ascii: " ") {
            // A blank may separate a date from its time.
            var ahead = cursor
            ahead.index += 1
            let time = ahead.word(and: "+.:")
            if !time.isEmpty { (cursor, word) = (ahead, word + " " + time) }
        }
        guard let time = TOMLTime(word) else {
            throw cursor.failure("\(word) is no value: text stands in quotes")
        }
        return .time(time)
    }
}
