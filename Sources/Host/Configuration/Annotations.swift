import Glibc
import LinuxKernel

/// Annotations that set keys for one sandbox, as far as the configuration allows it.
///
/// Names and rules are Kata's, with two exceptions. Annotations of the runtime and the agent must be enabled too, and
/// no annotation loosens a setting of the files (`AnnotationRule`).
package enum Annotations {
    package static let root = "io.katacontainers.config."
    /// The two names of the annotation that says how files are hashed.
    static let hashTypes = ["io.katacontainers.asset_hash_type", root + "hypervisor.asset_hash_type"]

    /// The beginning of the annotations' names for keys of a table.
    static func prefix(of path: String) -> String {
        root + path.prefix { $0 != "." } + "."
    }

    /// The part of a name that an expression must match: `kernel` of `io.katacontainers.config.hypervisor.kernel`.
    static func lastPart(of name: String) -> String {
        String(name.dropFirst(root.count).drop { $0 != "." }.dropFirst())
    }

    /// Whether one of the regular expressions matches the whole of `name`.
    /// - Throws: `Refusal` for an invalid expression, with regcomp(3)'s reason.
    static func isEnabled(_ name: String, by expressions: [String]) throws(Refusal) -> Bool {
        for expression in expressions {
            // SAFETY: `compiled` is used while regcomp(3) has filled it, and the texts have their lengths.
            var compiled = unsafe regex_t()
            let code = unsafe regcomp(&compiled, expression, REG_EXTENDED)
            defer { if code == 0 { unsafe regfree(&compiled) } }
            guard code == 0 else {
                var words = [CChar](repeating: 0, count: 128)
                unsafe regerror(code, &compiled, &words, words.count)
                throw Refusal(
                    "\"\(expression)\": "
                        + String(decoding: words.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            }
            // regexec(3) finds the leftmost and longest match: the whole name, if that matches (regex(7)).
            var match = regmatch_t()
            if unsafe regexec(&compiled, name, 1, &match, 0) == 0, match.rm_so == 0, Int(match.rm_eo) == name.utf8.count
            {
                return true
            }
        }
        return false
    }

    /// The beginning of an untrusted text, in quotes and without control characters.
    package static func quoted(_ text: String) -> String {
        let start = text.unicodeScalars.prefix(120).map { scalar in
            scalar.properties.generalCategory == .control ? "\\u{\(String(scalar.value, radix: 16))}" : "\(scalar)"
        }
        return "\"" + start.joined() + (text.unicodeScalars.count > 120 ? "…" : "") + "\""
    }
}

extension Configuration {
    /// The configuration of one sandbox: its annotations replace values of the files.
    /// - Parameter source: path of config.json, for errors.
    /// - Throws: `ConfigurationError` for a Kata annotation that is unknown, not enabled, or has a value that is not
    ///   allowed.
    package func applying(_ annotations: [String: String], source: String) throws(ConfigurationError) -> Configuration {
        var result = self
        for (name, text) in annotations.sorted(by: { $0.key < $1.key })
        where name.hasPrefix(Annotations.root) || Annotations.hashTypes.contains(name) {
            do throws(Refusal) { try result.apply(name, text, source: source, over: self) } catch {
                throw ConfigurationError(
                    file: source, line: nil, key: nil,
                    "annotation \(name) = \(Annotations.quoted(text)): \(error.reason)")
            }
        }
        do throws(Refusal) { try result.checkHashes(over: self) } catch {
            throw ConfigurationError(file: source, line: nil, key: nil, error.reason)
        }
        try result.check(source)
        return result
    }

    private mutating func apply(_ name: String, _ text: String, source: String, over files: Configuration)
        throws(Refusal)
    {
        let key = known.keys.first { $0.annotation == name }
        guard key != nil || Self.isWithoutEffect(name) || Annotations.hashTypes.contains(name) else {
            throw Refusal("unknown")
        }
        if name.hasPrefix(Annotations.root) { try files.checkEnabled(Annotations.lastPart(of: name)) }
        if let key {
            try set(key, text, over: files)
        } else if Annotations.hashTypes.contains(name) {
            guard text == "sha512" else { throw Refusal("hashes are sha512") }
        } else {
            warn("\(source): annotation \(name) has no effect yet")
        }
    }

    private func checkEnabled(_ name: String) throws(Refusal) {
        let enabled: Bool
        do throws(Refusal) { enabled = try Annotations.isEnabled(name, by: self[Keys.enableAnnotations]) } catch {
            throw Refusal("\(named(Keys.enableAnnotations)): \(error.reason)")
        }
        if !enabled { throw Refusal("not enabled: \(named(Keys.enableAnnotations)) has no \"\(name)\"") }
    }

    /// Whether the annotation sets one of Kata's keys that has no effect yet.
    private static func isWithoutEffect(_ name: String) -> Bool {
        Keys.acceptedWithoutEffect.contains { table, names in
            let prefix = Annotations.prefix(of: table)
            return name.hasPrefix(prefix) && names.contains(String(name.dropFirst(prefix.count)))
        }
    }

    private mutating func set(_ key: any AnyKey, _ text: String, over files: Configuration) throws(Refusal) {
        // An empty text leaves a string key as it is, as in Kata.
        if key.kind == .string, text.isEmpty { return }
        let given = try Self.parse(text, as: key.kind)
        let value = try files.admit(given, for: key)
        if let reason = key.refusal(of: value) { throw Refusal(reason) }
        put(value, for: key, by: "annotation \(key.annotation ?? "")")
        // The hash in the files is that of the files' kernel, and a guest has either an initrd or an image.
        let displaced: [String: [any AnyKey]] = [
            Keys.kernel.path: [Keys.kernelHash], Keys.initrd.path: [Keys.initrdHash, Keys.image, Keys.imageHash],
            Keys.image.path: [Keys.imageHash, Keys.initrd, Keys.initrdHash],
        ]
        for other in displaced[key.path] ?? [] where !wasAnnotated(other) { put(.string(""), for: other, by: nil) }
    }

    private static func parse(_ text: String, as kind: Value.Kind) throws(Refusal) -> Value {
        switch kind {
        case .string: return .string(text)
        case .int, .double:
            guard let number = Double(text), let value = Value(number: number, as: kind) else {
                throw Refusal("expected \(kind.name)")
            }
            return value
        case .bool:
            // Go's strconv.ParseBool.
            if ["1", "t", "T", "true", "TRUE", "True"].contains(text) { return .bool(true) }
            if ["0", "f", "F", "false", "FALSE", "False"].contains(text) { return .bool(false) }
            throw Refusal("expected \(kind.name)")
        case .list:
            // A JSON list of strings is also a TOML array.
            guard let array = (try? TOML.value(text))?.array, case let texts = array.compactMap(\.string),
                texts.count == array.count
            else { throw Refusal("expected a JSON list of strings") }
            return .list(texts)
        }
    }

    /// The value that an annotation gives a key, by the key's rule.
    /// - Throws: `Refusal` for a value that the rule forbids.
    private func admit(_ value: Value, for key: any AnyKey) throws(Refusal) -> Value {
        switch (key.rule, value) {
        case (.only(let allowed), _):
            guard value == allowed || value == self.value(key) else {
                throw Refusal("only \(allowed) may be asked for: \(named(key)) decides")
            }
        case (.atMost, .int(let number)):
            guard case .int(let limit) = self.value(key), number <= limit else {
                throw Refusal("more than the \(self.value(key)) of \(named(key))")
            }
        case (.words(let words), .string(let text)):
            do throws(Refusal) { return .string(try words.adding(text, to: string(of: key))) } catch {
                throw Refusal("\(error.reason) (\(named(key)))")
            }
        case (.arguments(let rule), .list(let arguments)):
            try rule.check(arguments)
            return .list(list(of: key) + arguments)
        case (.listed(let list), .string(let path)):
            return .string(try admit(path, of: key, listedIn: list))
        case (.free, .string(let text)) where key.path == Keys.kernelParameters.path:
            return .string(replacingParameters(text))
        default: break
        }
        return value
    }

    private func admit(_ path: String, of key: any AnyKey, listedIn name: String) throws(Refusal) -> String {
        guard let listKey = known[name], let kind = key.hostFile else {
            throw Refusal("no key lists its paths")
        }
        guard let real = PathList(patterns: list(of: listKey)).admitted(path) else {
            throw Refusal("no pattern of \(named(listKey)) matches the file that it leads to")
        }
        if let reason = kind.refusal(of: real) { throw Refusal(reason) }
        return real
    }

    /// Refuses a pod's file without a hash if the files have a hash, and a pod's hash for a file of the files.
    private func checkHashes(over files: Configuration) throws(Refusal) {
        for (file, hash, demands) in [
            (Keys.kernel, Keys.kernelHash, [Keys.kernelHash]),
            (Keys.initrd, Keys.initrdHash, [Keys.initrdHash, Keys.imageHash]),
            (Keys.image, Keys.imageHash, [Keys.imageHash, Keys.initrdHash]),
        ] {
            let demand = demands.first { !files[$0].isEmpty }
            if wasAnnotated(file), !wasAnnotated(hash), let demand {
                throw Refusal(
                    "annotation \(file.annotation ?? "") = \(Annotations.quoted(self[file])): needs the annotation \(hash.name) too, as \(files.named(demand)) demands a hash"
                )
            }
            if !wasAnnotated(file), wasAnnotated(hash), !files[hash].isEmpty,
                files[hash].lowercased() != self[hash].lowercased()
            {
                throw Refusal(
                    "annotation \(hash.annotation ?? "") = \(Annotations.quoted(self[hash])): not the hash of \(files.named(hash)), and the file is not the pod's"
                )
            }
        }
    }

    private func string(of key: any AnyKey) -> String { String(value(key)) ?? "" }
    private func list(of key: any AnyKey) -> [String] { [String](value(key)) ?? [] }

    /// Kernel parameters of the files and of an annotation, which replaces those of the same name.
    private func replacingParameters(_ text: String) -> String {
        func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
        let (ours, theirs) = (words(self[Keys.kernelParameters]), words(text))
        return (ours.without(namesOf: theirs) + theirs).joined(separator: " ")
    }
}
