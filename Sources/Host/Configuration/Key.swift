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
    /// The annotation that sets it for one pod: `io.katacontainers.config.hypervisor.kernel`.
    package let annotation: String?
    /// The key that lists which paths the annotation may give (glob patterns).
    package let validPaths: String?
    /// One line for a person.
    package let help: String

    /// - Parameters:
    ///   - annotation: the last part of its name; nil: none sets this key.
    ///   - validPaths: the last part of the name of the key with the list.
    init(
        _ path: String, _ standard: Value, allowed: [String] = [], in range: ClosedRange<Double>? = nil,
        annotation: String? = nil, validPaths: String? = nil, _ help: String
    ) {
        self.path = path
        self.standard = standard
        self.allowed = allowed
        self.range = range
        self.annotation = annotation.map { Annotations.prefix(of: path) + $0 }
        self.validPaths = validPaths.map { path[..<path.lastIndex(of: ".")!] + "." + $0 }
        self.help = help
    }

    /// Why a value of the right kind is not allowed; nil when it is.
    func refusal(of value: Value) -> String? {
        if case .text(let text) = value, !allowed.isEmpty, !allowed.contains(text) {
            return "\"\(text)\" is not one of \(allowed.filter { !$0.isEmpty }.joined(separator: ", "))"
        }
        if case .number(let number) = value, let range, !range.contains(number) {
            return
                "\(value) is not within \(Value.number(range.lowerBound)) and \(Value.number(range.upperBound))"
        }
        return nil
    }

    package var table: String { String(path[..<path.lastIndex(of: ".")!]) }
    package var name: String { String(path[path.index(after: path.lastIndex(of: ".")!)...]) }
}
