/// A value of configuration.toml.
package enum Value: Equatable, Sendable, CustomStringConvertible {
    case text(String)
    case number(Double)
    case flag(Bool)
    case list([String])

    package enum Kind: String, Sendable {
        case text = "a string"
        case number = "a number"
        case flag = "true or false"
        case list = "a list of strings"
    }

    package var kind: Kind {
        switch self {
        case .text: .text
        case .number: .number
        case .flag: .flag
        case .list: .list
        }
    }

    /// As TOML writes it.
    package var description: String {
        switch self {
        case .text(let text): "\"\(text)\""
        case .number(let number): number == number.rounded() && abs(number) < 1e15 ? "\(Int(number))" : "\(number)"
        case .flag(let flag): "\(flag)"
        case .list(let list): "[" + list.map { "\"\($0)\"" }.joined(separator: ", ") + "]"
        }
    }
}

/// One key: all that is said of it is said here.
package struct Key: Sendable {
    /// `hypervisor.qemu.path`.
    package let path: String
    package let standard: Value
    /// Allowed words; empty: any.
    package let allowed: [String]
    /// The lowest and highest number.
    package let range: ClosedRange<Double>?
    /// One line for a person.
    package let help: String

    init(
        _ path: String, _ standard: Value, allowed: [String] = [], in range: ClosedRange<Double>? = nil, _ help: String
    ) {
        self.path = path
        self.standard = standard
        self.allowed = allowed
        self.range = range
        self.help = help
    }

    package var table: String { String(path[..<path.lastIndex(of: ".")!]) }
    package var name: String { String(path[path.index(after: path.lastIndex(of: ".")!)...]) }
}
