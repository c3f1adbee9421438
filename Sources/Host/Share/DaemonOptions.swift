import Configuration

/// The options of virtiofsd that a pod may add (`virtio_fs_extra_args`).
///
/// QEMU's daemon has them behind -o, with "_"; the Rust daemon as long options. Only the operator sets what is
/// served, how the daemon is confined, and what a guest may do to the host's files (xattr, locks, ACLs).
enum DaemonOptions {
    private enum Form {
        case flag
        case number(ClosedRange<Int>)
        case word([String])

        func allows(_ value: Substring?) -> Bool {
            switch (self, value) {
            case (.flag, nil): true
            case (.number(let range), let value?):
                value.count < 7 && value.utf8.allSatisfy { (48...57).contains($0) }
                    && Int(value).map(range.contains) ?? false
            case (.word(let words), let value?): words.contains(String(value))
            default: false
            }
        }
    }

    private static let allowed: [(name: String, form: Form)] = [
        ("thread-pool-size", .number(0...64)), ("timeout", .number(0...86400)),
        ("cache", .word(["auto", "always", "never", "none", "metadata"])),
        ("log-level", .word(["off", "error", "err", "warn", "info"])), ("readdirplus", .flag),
        ("no-readdirplus", .flag),
        ("announce-submounts", .flag), ("writeback", .flag), ("no-writeback", .flag), ("no-xattr", .flag),
    ]

    /// Allows these options in an annotation.
    static let rule = ArgumentRule(help: help) { arguments throws(Refusal) in try check(arguments) }

    /// All options, for errors and documentation.
    static let help: String = "the options " + allowed.map(\.name).joined(separator: ", ")

    /// Accepts `--name`, `--name=value`, `-o LIST` and `-oLIST`.
    /// - Throws: `Refusal` for the first option that is not allowed or has a wrong value.
    static func check(_ arguments: [String]) throws(Refusal) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument.hasPrefix("--") {
                try check(option: argument.dropFirst(2), as: argument)
            } else if argument.hasPrefix("-o") {
                guard let list = argument == "-o" ? rest.popFirst()?[...] : argument.dropFirst(2) else {
                    throw Refusal("-o lacks its option")
                }
                for option in list.split(separator: ",", omittingEmptySubsequences: false) {
                    try check(option: option, as: "-o \(option)")
                }
            } else {
                throw refusal(argument)
            }
        }
    }

    private static func check(option: Substring, as written: String) throws(Refusal) {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0].map { $0 == "_" ? "-" : $0 })
        guard let known = allowed.first(where: { $0.name == name }),
            known.form.allows(parts.count > 1 ? parts[1] : nil)
        else { throw refusal(written) }
    }

    private static func refusal(_ option: String) -> Refusal {
        Refusal("\(Annotations.quoted(option)) is not allowed, or its value is not: only \(help)")
    }
}
