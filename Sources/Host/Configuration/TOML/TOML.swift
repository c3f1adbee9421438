/// TOML 1.0 (toml.io/en/v1.0.0). A document is read to its end, or refused with a line and a reason.
enum TOML {
    indirect enum Value {
        case string(String)
        case integer(Int64)
        case float(Double)
        case bool(Bool)
        /// A date, a time or both, in RFC 3339's form with "T" and "Z". No key has one.
        case time(TOMLTime)
        case array([Value])
        case table(Table)
    }

    final class Table {
        /// The syntax that defined the table. It decides what may be added later.
        enum Definition {
            /// `[a]`, or an element of `[[a]]`.
            case header
            /// The `a` of `[a.b]`: a later `[a]` may still define it.
            case headerPath
            /// The `a` of `a.b = 1`: only other dotted keys may add to it.
            case dottedKey
            /// `{ b = 1 }`: complete.
            case inline
        }

        var definedBy: Definition
        /// Names in the order of the document.
        private(set) var names: [String] = []
        private var entries: [String: (value: Value, line: Int)] = [:]

        init(_ definition: Definition) { definedBy = definition }

        /// A value and its line.
        subscript(name: String) -> (value: Value, line: Int)? { entries[name] }

        func set(_ name: String, _ value: Value, _ line: Int) {
            if entries.updateValue((value, line), forKey: name) == nil { names.append(name) }
        }
    }

    struct Failure: Error, Equatable {
        let line: Int
        let reason: String
    }

    /// - Parameter bytes: a document in UTF-8.
    static func read(_ bytes: [UInt8]) throws(Failure) -> Table {
        var reader = try TOMLReader(bytes)
        return try reader.document()
    }

    static func read(_ text: String) throws(Failure) -> Table { try read(Array(text.utf8)) }

    /// Reads one value without a name.
    static func value(_ text: String) throws(Failure) -> Value {
        var reader = try TOMLReader(Array(text.utf8))
        return try reader.onlyValue()
    }
}

extension TOML.Value {
    var array: [Self]? { if case .array(let array) = self { array } else { nil } }
    var string: String? { if case .string(let string) = self { string } else { nil } }
    var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
    var table: TOML.Table? { if case .table(let table) = self { table } else { nil } }
    /// An integer or a float.
    var number: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .float(let float): float
        default: nil
        }
    }
}
