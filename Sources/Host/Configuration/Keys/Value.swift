/// A value of configuration.toml.
package enum Value: Equatable, Sendable, CustomStringConvertible {
    case string(String)
    case int(Int)
    case double(Double)
    case bool(Bool)
    case list([String])

    package enum Kind: Sendable {
        case string, int, double, bool, list

        /// Completes "expected …" in errors.
        var name: String {
            switch self {
            case .string: "a string"
            case .int, .double: "a number"
            case .bool: "true or false"
            case .list: "a list of strings"
            }
        }
    }

    /// The value in TOML's notation.
    package var description: String {
        switch self {
        case .string(let string): "\"\(string)\""
        case .int(let int): "\(int)"
        case .double(let double): Int(exactly: double).map(String.init) ?? "\(double)"
        case .bool(let bool): "\(bool)"
        case .list(let list): "[" + list.map { "\"\($0)\"" }.joined(separator: ", ") + "]"
        }
    }

    /// A number for a key of this kind; a fraction is rounded up for a whole number.
    /// - Returns: nil for a kind that is no number, and for a number beyond the range of Int.
    init?(number: Double, as kind: Kind) {
        guard let int = Int(exactly: number.rounded(.up)) else { return nil }
        switch kind {
        case .int: self = .int(int)
        case .double: self = .double(number)
        case .string, .bool, .list: return nil
        }
    }
}

/// A type that a key's value is read as.
package protocol KeyContent: Sendable {
    static var kind: Value.Kind { get }
    /// - Returns: nil for a value of another kind.
    init?(_ value: Value)
    var value: Value { get }
}

extension String: KeyContent {
    package static var kind: Value.Kind { .string }
    package init?(_ value: Value) {
        guard case .string(let string) = value else { return nil }
        self = string
    }
    package var value: Value { .string(self) }
}

extension Int: KeyContent {
    package static var kind: Value.Kind { .int }
    package init?(_ value: Value) {
        guard case .int(let int) = value else { return nil }
        self = int
    }
    package var value: Value { .int(self) }
}

extension Double: KeyContent {
    package static var kind: Value.Kind { .double }
    package init?(_ value: Value) {
        guard case .double(let double) = value else { return nil }
        self = double
    }
    package var value: Value { .double(self) }
}

extension Bool: KeyContent {
    package static var kind: Value.Kind { .bool }
    package init?(_ value: Value) {
        guard case .bool(let bool) = value else { return nil }
        self = bool
    }
    package var value: Value { .bool(self) }
}

extension [String]: KeyContent {
    package static var kind: Value.Kind { .list }
    package init?(_ value: Value) {
        guard case .list(let list) = value else { return nil }
        self = list
    }
    package var value: Value { .list(self) }
}
