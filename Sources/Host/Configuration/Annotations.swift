import Glibc
import Linux

/// Annotations of a sandbox that set keys for it alone, where the configuration allows it. Names and rules are Kata's.
package enum Annotations {
    package static let root = "io.katacontainers.config."
    /// Those of the hypervisor decide what runs on the host: each has to be allowed.
    static let gated = root + "hypervisor."
    /// The kind of hash that asset hashes are, under both of its names.
    static let hashTypes = ["io.katacontainers.asset_hash_type", gated + "asset_hash_type"]

    /// What the names for the keys of a table begin with.
    static func prefix(of path: String) -> String {
        root + path.prefix { $0 != "." } + "."
    }

    /// Whether one of the regular expressions is found in `name`.
    /// - Throws: for an expression that is none, with its reason.
    static func isEnabled(_ name: Substring, by expressions: [String]) throws(ConfigurationError) -> Bool {
        for expression in expressions {
            var compiled = regex_t()
            let code = regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB)
            defer { if code == 0 { regfree(&compiled) } }
            guard code == 0 else {
                var words = [CChar](repeating: 0, count: 128)
                regerror(code, &compiled, &words, words.count)
                throw ConfigurationError(
                    file: "configuration.toml", line: nil, key: Keys.enableAnnotations.path,
                    "\"\(expression)\": "
                        + String(decoding: words.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            }
            if regexec(&compiled, String(name), 0, nil, 0) == 0 { return true }
        }
        return false
    }
}

extension Configuration {
    /// The configuration for one sandbox: what its annotations say wins over the files.
    /// - Parameter source: the bundle's config.json, for messages.
    /// - Throws: for an annotation of Kata's that is unknown or not enabled, or has a wrong value.
    package func applying(_ annotations: [String: String], source: String) throws(ConfigurationError) -> Configuration {
        var result = self
        let expressions = list(Keys.enableAnnotations)
        for (name, text) in annotations.sorted(by: { $0.key < $1.key })
        where name.hasPrefix(Annotations.root) || Annotations.hashTypes.contains(name) {
            func wrong(_ reason: String) -> ConfigurationError {
                ConfigurationError(file: source, line: nil, key: nil, "annotation \(name) \(reason)")
            }
            if name.hasPrefix(Annotations.gated) {
                let base = name.dropFirst(Annotations.gated.count)
                guard try Annotations.isEnabled(base, by: expressions) else {
                    throw wrong("is not enabled (hypervisor.qemu.enable_annotations)")
                }
            }
            if Annotations.hashTypes.contains(name) {
                guard text == "sha512" else { throw wrong("is \"\(text)\": hashes are sha512") }
            } else if let key = Keys.all.first(where: { $0.annotation == name }) {
                try result.set(key, text, wrong)
            } else if Self.isDormant(name) {
                result.warn("\(source): annotation \(name) has no effect yet")
            } else {
                throw wrong("is unknown")
            }
        }
        try result.check(source)
        return result
    }

    /// One of Kata's keys on which nothing is acted yet.
    private static func isDormant(_ name: String) -> Bool {
        Keys.dormant.contains { table, names in
            let prefix = Annotations.prefix(of: table)
            return name.hasPrefix(prefix) && names.contains(String(name.dropFirst(prefix.count)))
        }
    }

    private mutating func set(_ key: Key, _ text: String, _ wrong: (String) -> ConfigurationError)
        throws(ConfigurationError)
    {
        let value: Value
        switch key.standard.kind {
        // Nothing to be set.
        case .text where text.isEmpty: return
        case .text: value = .text(key.path == Keys.kernelParameters.path ? replacingParameters(text) : text)
        case .number:
            guard let number = Double(text), number.isFinite else { throw wrong("is \"\(text)\": expected a number") }
            value = .number(number)
        case .flag:
            // As Go reads truth (strconv.ParseBool).
            if ["1", "t", "T", "true", "TRUE", "True"].contains(text) {
                value = .flag(true)
            } else if ["0", "f", "F", "false", "FALSE", "False"].contains(text) {
                value = .flag(false)
            } else {
                throw wrong("is \"\(text)\": expected true or false")
            }
        case .list:
            // A JSON list of strings is one of TOML too.
            guard let array = (try? TOML.value(text))?.list else {
                throw wrong("is \"\(text)\": expected a JSON list of strings")
            }
            value = .list(list(key) + array.compactMap(\.text))
        }
        if let reason = key.refusal(of: value) { throw wrong("is \(text): \(reason)") }
        if let valid = key.validPaths, case .text(let path) = value {
            let patterns = Keys.all.first { $0.path == valid }.map(list) ?? []
            guard patterns.contains(where: { fnmatch($0, path, FNM_PATHNAME) == 0 }), Files.exists(path) else {
                throw wrong("is \(path): not one of \(valid)")
            }
        }
        put(value, for: key, by: "annotation \(key.annotation ?? "")")
        // The file's hash belongs to the file's kernel; and a guest has one root.
        let displaced: [String: [Key]] = [
            Keys.kernel.path: [Keys.kernelHash], Keys.initrd.path: [Keys.initrdHash, Keys.image, Keys.imageHash],
            Keys.image.path: [Keys.imageHash, Keys.initrd, Keys.initrdHash],
        ]
        for other in displaced[key.path] ?? [] where !wasAnnotated(other) { put(.text(""), for: other, by: nil) }
    }

    /// Words of the annotation take the place of those with the same name.
    private func replacingParameters(_ text: String) -> String {
        func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
        let (ours, theirs) = (words(self.text(Keys.kernelParameters)), words(text))
        return (ours.without(namesOf: theirs) + theirs).joined(separator: " ")
    }
}
