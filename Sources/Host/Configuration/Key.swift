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
    /// What that annotation may say; nil where there is none.
    let rule: AnnotationRule?
    /// The kind of file of the host that the value names; nil where it names none.
    let names: HostFile?
    /// One line for a person.
    package let help: String

    /// A key whose value names no file of the host.
    /// - Parameter annotation: nil: none sets this key.
    init(
        _ path: String, _ standard: Value, allowed: [String] = [], in range: ClosedRange<Double>? = nil,
        annotation: Annotation? = nil, _ help: String
    ) {
        self.init(
            path, standard, allowed, range, annotation?.name, annotation?.rule, names: nil, help)
    }

    /// A key whose value is the path of a file of the host. An annotation for it can't be declared without the key that lists its paths.
    /// - Parameter annotation: the last part of its name, and the key with the patterns of paths that it may give.
    init(
        _ path: String, _ names: HostFile, _ standard: String, allowed: [String] = [],
        annotation: (name: String, listedIn: Key)? = nil, _ help: String
    ) {
        self.init(
            path, .text(standard), allowed, nil, annotation?.name, (annotation?.listedIn.path).map { .listed($0) },
            names: names, help)
    }

    private init(
        _ path: String, _ standard: Value, _ allowed: [String], _ range: ClosedRange<Double>?, _ annotation: String?,
        _ rule: AnnotationRule?, names: HostFile?, _ help: String
    ) {
        self.path = path
        self.standard = standard
        self.allowed = allowed
        self.range = range
        self.annotation = annotation.map { Annotations.prefix(of: path) + $0 }
        self.rule = rule
        self.names = names
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
