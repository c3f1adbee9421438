import Glibc
import LinuxKernel

/// Annotations of a sandbox that set keys for it alone, where the configuration allows it. Names are Kata's; so are the rules, but that
/// those of the runtime and the agent need permission too, and none loosens what the files demand (`AnnotationRule`).
package enum Annotations {
    package static let root = "io.katacontainers.config."
    /// The kind of hash that asset hashes are, under both of its names.
    static let hashTypes = ["io.katacontainers.asset_hash_type", root + "hypervisor.asset_hash_type"]

    /// What the names for the keys of a table begin with.
    static func prefix(of path: String) -> String {
        root + path.prefix { $0 != "." } + "."
    }

    /// What an expression has to match: `kernel` of `io.katacontainers.config.hypervisor.kernel`.
    static func lastPart(of name: String) -> String {
        String(name.dropFirst(root.count).drop { $0 != "." }.dropFirst())
    }

    /// Whether one of the regular expressions matches the whole of `name`.
    /// - Throws: for an expression that is none, with its reason.
    static func isEnabled(_ name: String, by expressions: [String]) throws(Refusal) -> Bool {
        for expression in expressions {
            var compiled = regex_t()
            let code = regcomp(&compiled, expression, REG_EXTENDED)
            defer { if code == 0 { regfree(&compiled) } }
            guard code == 0 else {
                var words = [CChar](repeating: 0, count: 128)
                regerror(code, &compiled, &words, words.count)
                throw Refusal(
                    "\"\(expression)\": "
                        + String(decoding: words.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            }
            // The leftmost match, and the longest of those (regex(7)): if any is the whole name, it is this one.
            var match = regmatch_t()
            if regexec(&compiled, name, 1, &match, 0) == 0, match.rm_so == 0, Int(match.rm_eo) == name.utf8.count {
                return true
            }
        }
        return false
    }

    /// A pod's text within one line: its beginning, in quotes.
    static func quoted(_ text: String) -> String {
        let start = text.unicodeScalars.prefix(120).map { scalar in
            scalar.properties.generalCategory == .control ? "\\u{\(String(scalar.value, radix: 16))}" : "\(scalar)"
        }
        return "\"" + start.joined() + (text.unicodeScalars.count > 120 ? "…" : "") + "\""
    }
}

extension Configuration {
    /// The configuration for one sandbox: what its annotations say wins over the files.
    /// - Parameter source: the bundle's config.json, for messages.
    /// - Throws: for an annotation of Kata's that is unknown, is not enabled, or has a value that is wrong or not allowed.
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
        let key = Keys.all.first { $0.annotation == name }
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

    /// One of Kata's keys on which nothing is acted yet.
    private static func isWithoutEffect(_ name: String) -> Bool {
        Keys.acceptedWithoutEffect.contains { table, names in
            let prefix = Annotations.prefix(of: table)
            return name.hasPrefix(prefix) && names.contains(String(name.dropFirst(prefix.count)))
        }
    }

    private mutating func set(_ key: any AnyKey, _ text: String, over files: Configuration) throws(Refusal) {
        // Nothing to be set.
        if key.kind == .string, text.isEmpty { return }
        let given = try Self.parse(text, as: key.kind)
        let value = try files.admit(given, for: key)
        if let reason = key.refusal(of: value) { throw Refusal(reason) }
        put(value, for: key, by: "annotation \(key.annotation ?? "")")
        // The file's hash belongs to the file's kernel; and a guest has one root.
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
            // As Go reads truth (strconv.ParseBool).
            if ["1", "t", "T", "true", "TRUE", "True"].contains(text) { return .bool(true) }
            if ["0", "f", "F", "false", "FALSE", "False"].contains(text) { return .bool(false) }
            throw Refusal("expected \(kind.name)")
        case .list:
            // A JSON list of strings is one of TOML too.
            guard let array = (try? TOML.value(text))?.array, case let texts = array.compactMap(\.string),
                texts.count == array.count
            else { throw Refusal("expected a JSON list of strings") }
            return .list(texts)
        }
    }

    /// What an annotation's value makes of a key of these files.
    private func admit(_ value: Value, for key: any AnyKey) throws(Refusal) -> Value {
        switch (key.rule, value) {
        case (.only(let flag), _):
            guard value == .bool(flag) || value == self.value(key) else {
                throw Refusal("only \(flag) may be asked for: \(named(key)) decides")
            }
        case (.atMost, .int(let number)):
            guard case .int(let limit) = self.value(key), number <= limit else {
                throw Refusal("more than the \(self.value(key)) of \(named(key))")
            }
        case (.words(let words), .string(let text)):
            do throws(Refusal) { return .string(try words.adding(text, to: string(of: key))) } catch {
                throw Refusal("\(error.reason) (\(named(key)))")
            }
        case (.daemonOptions, .list(let arguments)):
            try DaemonOptions.check(arguments)
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
        guard let listKey = Keys.all.first(where: { $0.path == name }), let kind = key.hostFile else {
            throw Refusal("no key lists its paths")
        }
        guard let real = PathList(patterns: list(of: listKey)).admitted(path) else {
            throw Refusal("no pattern of \(named(listKey)) matches the file that it leads to")
        }
        if let reason = kind.refusal(of: real) { throw Refusal(reason) }
        return real
    }

    /// A pod's file has a hash of the pod's where the files demand one, and the files' hash of their own file stays.
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

    /// Words of the annotation take the place of those with the same name.
    private func replacingParameters(_ text: String) -> String {
        func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
        let (ours, theirs) = (words(self[Keys.kernelParameters]), words(text))
        return (ours.without(namesOf: theirs) + theirs).joined(separator: " ")
    }
}
