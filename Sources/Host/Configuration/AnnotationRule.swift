/// An annotation for a key that is not the path of a host file.
package struct Annotation: Sendable {
    /// The last part of the annotation's name.
    let name: String
    let rule: AnnotationRule

    /// Allows any value: it only concerns the pod's own VM.
    package static func free(_ name: String) -> Annotation { Annotation(name: name, rule: .free) }
    /// Allows one value, beside the files' own. Others would weaken the host's safety or the operator's control.
    package static func only(_ flag: Bool, _ name: String) -> Annotation {
        Annotation(name: name, rule: .only(.bool(flag)))
    }
    package static func only(_ word: String, _ name: String) -> Annotation {
        Annotation(name: name, rule: .only(.string(word)))
    }
    /// Allows numbers up to the value of the files.
    package static func atMost(_ name: String) -> Annotation { Annotation(name: name, rule: .atMost) }
    /// Adds words to a comma-separated list.
    package static func words(_ name: String, _ words: CommaWords) -> Annotation {
        Annotation(name: name, rule: .words(words))
    }
    /// Adds arguments of a program to a list, after a check.
    package static func arguments(_ name: String, _ rule: ArgumentRule) -> Annotation {
        Annotation(name: name, rule: .arguments(rule))
    }
}

/// The values that an enabled annotation may have. None loosens a setting of the operator's files.
package enum AnnotationRule: Sendable {
    case free
    case only(Value)
    case atMost
    case words(CommaWords)
    case arguments(ArgumentRule)
    /// A path that matches a pattern of the given key.
    case listed(String)

    /// A sentence for docs/configuration.md; empty if any value is allowed.
    var help: String {
        switch self {
        case .free: ""
        case .only(let value): " By annotation: only \(value)."
        case .atMost: " By annotation: no more than the file's value."
        case .words(let words): " By annotation: added to the file's list; \(words.help)."
        case .arguments(let rule): " By annotation: added to the file's list; only \(rule.help)."
        case .listed(let list): " By annotation: only what `\(list.split(separator: ".").last ?? "")` lists."
        }
    }
}

/// Words of a comma-separated list of the hypervisor: `name`, `+name`, `-name`, `name=value`.
package struct CommaWords: Sendable {
    /// Allowed names; empty: any of letters, digits, "-", "_" and ".".
    let names: [String]
    /// Allowed values; empty: any of the same characters.
    let values: [String]

    package init(names: [String], values: [String]) { (self.names, self.values) = (names, values) }

    var help: String { names.isEmpty ? "no path" : "only \(names.joined(separator: ", "))" }

    /// Appends the annotation's words to the list. A name in the list keeps its value.
    /// - Throws: `Refusal` for a word that is not allowed or would replace another.
    func adding(_ text: String, to list: String) throws(Refusal) -> String {
        var words = list.split(separator: ",").map(String.init)
        let fixed = words
        for word in text.split(separator: ",").map(String.init) where !fixed.contains(word) {
            let name = Self.name(word)
            guard isAllowed(word) else { throw Refusal("\"\(word)\" is not allowed: \(help)") }
            if let other = fixed.first(where: { Self.name($0) == name }) {
                throw Refusal("\"\(word)\" would replace \"\(other)\"")
            }
            words.append(word)
        }
        return words.joined(separator: ",")
    }

    private func isAllowed(_ word: String) -> Bool {
        let name = Self.name(word)
        let isPlain = word.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "+-_.=".utf8.contains($0)
            }
        }
        guard isPlain, names.isEmpty || names.contains(name) else { return false }
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count < 2 || values.isEmpty || values.contains(String(parts[1]))
    }

    /// The hypervisor may read "_" as "-".
    private static func name(_ word: String) -> String {
        let sign = word.hasPrefix("+") || word.hasPrefix("-")
        return String(word.dropFirst(sign ? 1 : 0).prefix { $0 != "=" }.map { $0 == "_" ? "-" : $0 })
    }
}

/// The arguments of a program that a pod may add.
package struct ArgumentRule: Sendable {
    /// All of them, for docs/configuration.md.
    let help: String
    let check: @Sendable ([String]) throws(Refusal) -> Void

    /// - Parameter check: throws for the first argument that is not allowed.
    package init(help: String, check: @escaping @Sendable ([String]) throws(Refusal) -> Void) {
        (self.help, self.check) = (help, check)
    }
}

/// The reason why a value is refused.
package struct Refusal: Error {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}
