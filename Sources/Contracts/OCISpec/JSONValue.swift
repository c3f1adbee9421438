import FoundationEssentials

extension Encodable {
    /// The path of the first field that `other` lacks or has with another value, such as `linux.rdma`; nil for none.
    /// Null, zero, false and empty count as absent.
    package func field(missingIn other: Self) -> String? {
        guard let whole = JSONValue.parse(json()), let rest = JSONValue.parse(other.json()) else { return "" }
        return whole.place(missingIn: rest).map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }
    }
}

/// A JSON value of any type. Errors use it to find and show the wrong value.
enum JSONValue: Codable {
    case object([String: JSONValue])
    case list([JSONValue])
    case text(String)
    case truth(Bool)
    case signed(Int64)
    case unsigned(UInt64)
    case fraction(Double)
    case null

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let truth = try? value.decode(Bool.self) {
            self = .truth(truth)
        } else if let number = try? value.decode(Int64.self) {
            self = .signed(number)
        } else if let number = try? value.decode(UInt64.self) {
            self = .unsigned(number)
        } else if let number = try? value.decode(Double.self) {
            self = .fraction(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([JSONValue].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .object(let fields): try value.encode(fields)
        case .list(let values): try value.encode(values)
        case .text(let text): try value.encode(text)
        case .truth(let truth): try value.encode(truth)
        case .signed(let number): try value.encode(number)
        case .unsigned(let number): try value.encode(number)
        case .fraction(let number): try value.encode(number)
        case .null: try value.encodeNil()
        }
    }

    private var short: String {
        switch self {
        case .object: "an object"
        case .list: "a list"
        case .text(let text): "\"\(text.prefix(60))\""
        case .truth(let truth): "\(truth)"
        case .signed(let number): "\(number)"
        case .unsigned(let number): "\(number)"
        case .fraction(let number): "\(number)"
        case .null: "null"
        }
    }

    static func parse(_ json: [UInt8]) -> JSONValue? {
        try? JSONDecoder().decode(JSONValue.self, from: Data(json))
    }

    private var countsAsAbsent: Bool {
        switch self {
        case .object(let fields): fields.values.allSatisfy(\.countsAsAbsent)
        case .list(let values): values.isEmpty
        case .text(let text): text.isEmpty
        case .truth(let truth): !truth
        case .signed(let number): number == 0
        case .unsigned(let number): number == 0
        case .fraction(let number): number == 0
        case .null: true
        }
    }

    fileprivate func place(missingIn other: JSONValue?) -> String? {
        if countsAsAbsent { return nil }
        guard let other else { return "" }
        switch (self, other) {
        case (.object(let fields), .object(let others)):
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
                if let field = value.place(missingIn: others[name]) { return "." + name + field }
            }
            return nil
        case (.list(let values), .list(let others)):
            for (index, value) in values.enumerated() {
                let counterpart = others.indices.contains(index) ? others[index] : nil
                if let field = value.place(missingIn: counterpart) { return "[\(index)]" + field }
            }
            return nil
        case (.text(let text), .text(let counterpart)): return text == counterpart ? nil : ""
        default: return short == other.short ? nil : ""
        }
    }

    /// A short text of the value at a path; nil when there is none.
    static func text(in json: [UInt8], at path: [any CodingKey]) -> String? {
        guard var value = parse(json) else { return nil }
        for key in path {
            switch value {
            case .object(let fields):
                guard let next = fields[key.stringValue] else { return nil }
                value = next
            case .list(let values):
                guard let index = key.intValue, values.indices.contains(index) else { return nil }
                value = values[index]
            default: return nil
            }
        }
        return value.short
    }

    /// The path of the first text or name that holds a NUL; nil for none. To the kernel, such a text ends there.
    static func pathOfNUL(in json: [UInt8]) -> [any CodingKey]? {
        let escape = Array("\\u0000".utf8)
        let starts = json.indices.dropLast(escape.count - 1)
        guard starts.contains(where: { json[$0] == escape[0] && json[$0..<$0 + escape.count].elementsEqual(escape) })
        else { return nil }
        // A document may be decoded that can't be parsed here: its decoder skips fields that it doesn't know.
        guard let document = parse(json) else { return [] }
        var found: [Key]?
        document.visit { path, value in
            guard found == nil else { return }
            var holds = path.last?.stringValue.utf8.contains(0) ?? false
            if case .text(let text) = value { holds = holds || text.utf8.contains(0) }
            if holds { found = path }
        }
        return found
    }

    /// Finds the number that a field can't hold: with every other number set to 0, decoding still fails.
    static func misfit<Value: Decodable>(in json: [UInt8], for type: Value.Type) -> (
        path: [any CodingKey], value: String
    )? {
        guard let document = parse(json) else { return nil }
        var numbers: [[Key]] = []
        document.visit { path, value in
            switch value {
            case .signed, .unsigned, .fraction: numbers.append(path)
            default: break
            }
        }
        // In a document of thousands of numbers the search gives up, and the error names no place.
        let deadline = ContinuousClock.now + .seconds(1)
        for path in numbers.prefix(1000) where ContinuousClock.now < deadline {
            guard let bytes = try? JSONEncoder().encode(document.keeping(path[...])) else { continue }
            do { _ = try JSONDecoder().decode(type, from: Data(bytes)) } catch DecodingError.dataCorrupted(let context)
            {
                if context.codingPath.isEmpty { return (path, text(in: json, at: path) ?? "a number") }
            } catch {}
        }
        return nil
    }

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int?
        init(_ name: String) { (stringValue, intValue) = (name, nil) }
        init(_ index: Int) { (stringValue, intValue) = ("\(index)", index) }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { self.init(intValue) }
    }

    /// Calls `body` with each value of the document and its path: fields by name, a value before those in it.
    private func visit(_ path: [Key] = [], _ body: (_ path: [Key], _ value: JSONValue) -> Void) {
        body(path, self)
        switch self {
        case .object(let fields):
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) { value.visit(path + [Key(name)], body) }
        case .list(let values):
            for (index, value) in values.enumerated() { value.visit(path + [Key(index)], body) }
        default: break
        }
    }

    /// The document with every number set to 0 but the one at `path`; nil keeps none.
    private func keeping(_ path: ArraySlice<Key>?) -> JSONValue {
        func below(_ key: Key) -> ArraySlice<Key>? {
            path?.first.flatMap { $0.stringValue == key.stringValue ? path?.dropFirst() : nil }
        }
        switch self {
        case .object(let fields):
            return .object(Dictionary(uniqueKeysWithValues: fields.map { ($0, $1.keeping(below(Key($0)))) }))
        case .list(let values): return .list(values.enumerated().map { $1.keeping(below(Key($0))) })
        case .signed, .unsigned, .fraction: return path?.isEmpty == true ? self : .signed(0)
        default: return self
        }
    }
}
