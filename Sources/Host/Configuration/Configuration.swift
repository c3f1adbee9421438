import LinuxKernel

/// The checked values of configuration.toml and its drop-ins. A key that is not set has its default.
package struct Configuration: Sendable {
    /// The file that was read, then its drop-ins.
    package private(set) var sources: [String] = []
    /// Lines for the log, about misspelt keys and annotations without effect.
    package private(set) var warnings: [String] = []
    private var values: [String: Value] = [:]
    private var places: [String: (file: String, line: Int)] = [:]
    /// The annotation that has set a key, by the key's path.
    private var origins: [String: String] = [:]
    /// The keys that it may have.
    let known: KeySet

    /// A configuration with the defaults of all keys.
    package init(keys: KeySet = KeySet()) { known = keys }

    package static let searchPath = [
        "/etc/kata-containers/configuration.toml", "/usr/share/defaults/kata-containers/configuration.toml",
    ]

    /// Reads a file, or the first of the search path, then `config.d/*.toml` beside it in order of names.
    /// - Parameter keys: the keys that the files may have.
    /// - Throws: `ConfigurationError` with file, line and key: a file or directory that can't be read, or no TOML.
    ///   Also for an unknown key or table, and for a value that is not allowed.
    package static func load(_ asked: String?, keys: KeySet) throws(ConfigurationError) -> Configuration {
        let candidates = asked.map { [$0] } ?? searchPath
        guard let file = candidates.first(where: { Files.exists($0) }) else {
            throw ConfigurationError(
                file: candidates[0], line: nil, key: nil,
                asked != nil
                    ? "no such file" : "no such file, nor \(searchPath[1]); install one or name one with --kata-config")
        }
        var configuration = Configuration(keys: keys)
        try configuration.merge(file: file)
        let directory = dropIns(of: file)
        let names: [String]
        do { names = try Files.names(ifPresent: directory) } catch {
            throw ConfigurationError(file: directory, line: nil, key: nil, "\(error)")
        }
        for name in names where name.hasSuffix(".toml") { try configuration.merge(file: directory + "/" + name) }
        try configuration.check(file)
        return configuration
    }

    /// Reads the configuration as `load` does, but not a default that is missing.
    /// - Returns: nil when no file is named and none of the defaults exists.
    /// - Throws: as `load`.
    package static func loadIfPresent(_ asked: String?, keys: KeySet) throws(ConfigurationError) -> Configuration? {
        asked == nil && !searchPath.contains { Files.exists($0) } ? nil : try load(asked, keys: keys)
    }

    /// The directory of the files that are read after `file`, such as `/etc/kata-containers/config.d`.
    static func dropIns(of file: String) -> String {
        (file.lastIndex(of: "/").map { String(file[..<$0]) } ?? ".") + "/config.d"
    }

    private mutating func merge(file: String) throws(ConfigurationError) {
        let bytes: [UInt8]
        do { bytes = try Files.read(file) } catch {
            throw ConfigurationError(file: file, line: nil, key: nil, "\(error)")
        }
        try merge(bytes, file: file)
    }

    /// Takes the values of a document, which replace those of earlier ones.
    /// - Parameter file: the document's name, for errors.
    /// - Throws: `ConfigurationError` for a text that is no TOML, an unknown key or table, or a value that is not
    ///   allowed.
    package mutating func merge(text: String, file: String) throws(ConfigurationError) {
        try merge(Array(text.utf8), file: file)
    }

    private mutating func merge(_ bytes: [UInt8], file: String) throws(ConfigurationError) {
        sources.append(file)
        let document: TOML.Table
        do throws(TOML.Failure) { document = try TOML.read(bytes) } catch {
            throw ConfigurationError(file: file, line: error.line, key: nil, error.reason)
        }
        try read(document, at: "", file: file)
    }

    private mutating func read(_ table: TOML.Table, at prefix: String, file: String) throws(ConfigurationError) {
        for name in table.names {
            guard let (value, line) = table[name] else { continue }
            let path = prefix.isEmpty ? name : prefix + "." + name
            if Keys.otherHypervisorTables.contains(where: { path == $0 || path.hasPrefix($0 + ".") }) { continue }
            if let key = known[path] {
                values[path] = try Self.value(value, for: key, file: file, line: line)
                places[path] = (file, line)
            } else if Keys.acceptedWithoutEffect[prefix]?.contains(name) == true {
                continue
            } else if let inner = value.table {
                let tables = known.tables + Array(Keys.acceptedWithoutEffect.keys)
                guard tables.contains(where: { $0 == path || $0.hasPrefix(path + ".") }) else {
                    throw ConfigurationError(
                        file: file, line: line, key: path, "unknown table\(Self.suggestion(path, tables))")
                }
                try read(inner, at: path, file: file)
            } else {
                let names = known.keys(of: prefix).map(\.name) + (Keys.acceptedWithoutEffect[prefix] ?? [])
                warnings.append("\(file):\(line): \(path): unknown key, ignored\(Self.suggestion(name, names))")
            }
        }
    }

    private static func value(_ given: TOML.Value, for key: any AnyKey, file: String, line: Int)
        throws(ConfigurationError) -> Value
    {
        func wrong(_ reason: String) -> ConfigurationError {
            ConfigurationError(file: file, line: line, key: key.path, reason)
        }
        guard let value = Value(given, as: key.kind) else { throw wrong("expected \(key.kind.name)") }
        if let reason = key.refusal(of: value) { throw wrong(reason) }
        return value
    }

    /// Rules between keys.
    func check(_ file: String) throws(ConfigurationError) {
        if !self[Keys.initrd].isEmpty, !self[Keys.image].isEmpty {
            throw ConfigurationError(
                file: file, line: nil, key: Keys.image.path, "image and initrd exclude each other: keep one")
        }
    }

    /// An error about a key's value, with the file and line, or annotation, that has set it.
    func wrong(_ key: any AnyKey, _ reason: String) -> ConfigurationError {
        let file = sources.first ?? "built-in configuration"
        if let origin = origins[key.path] { return ConfigurationError(file: origin, line: nil, key: nil, reason) }
        let place = places[key.path]
        return ConfigurationError(file: place?.file ?? file, line: place?.line, key: key.path, reason)
    }

    /// A key with the file and line that has set it, for errors: `hypervisor.qemu.kernel_hash (c.toml:3)`.
    func named(_ key: any AnyKey) -> String {
        let place = places[key.path].map { "\($0.file):\($0.line)" }
        return "\(key.path) (\(place ?? "not set in \(sources.first ?? "any file")"))"
    }

    /// Sets a key.
    /// - Parameter origin: the annotation, for errors; nil: none.
    mutating func put(_ value: Value, for key: any AnyKey, by origin: String?) {
        values[key.path] = value
        origins[key.path] = origin
    }

    func wasAnnotated(_ key: any AnyKey) -> Bool { origins[key.path] != nil }
    mutating func warn(_ line: String) { warnings.append(line) }

    private static func suggestion(_ name: String, _ known: [String]) -> String {
        let best = known.map { ($0, distance($0, name)) }.min { $0.1 < $1.1 }
        guard let best, best.1 <= max(2, name.count / 3) else { return "" }
        return "; did you mean \(best.0)?"
    }

    /// Number of letters to change (Levenshtein distance).
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b)
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var before = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let here = x == y ? before : 1 + min(before, row[j], row[j + 1])
                before = row[j + 1]
                row[j + 1] = here
            }
        }
        return row[b.count]
    }

    // MARK: Reading

    /// The values of all keys that are set, except some, as text. Equal settings give equal texts.
    package func settings(but others: [any AnyKey]) -> String {
        values.filter { value in !others.contains { $0.path == value.key } }.map { "\($0.key) = \($0.value)\n" }
            .sorted()
            .joined()
    }

    package subscript<Content>(key: Key<Content>) -> Content {
        values[key.path].flatMap(Content.init) ?? key.defaultContent
    }
    package func value(_ key: any AnyKey) -> Value { values[key.path] ?? key.defaultValue }
    package func isSet(_ key: any AnyKey) -> Bool { values[key.path] != nil }
}

extension Value {
    /// - Returns: nil if the document's value is of another kind.
    fileprivate init?(_ given: TOML.Value, as kind: Kind) {
        switch kind {
        case .string:
            guard let string = given.string else { return nil }
            self = .string(string)
        case .int, .double:
            guard let number = given.number else { return nil }
            self.init(number: number, as: kind)
        case .bool:
            guard let bool = given.bool else { return nil }
            self = .bool(bool)
        case .list:
            guard let items = given.array, case let strings = items.compactMap(\.string), strings.count == items.count
            else { return nil }
            self = .list(strings)
        }
    }
}

/// An error in the configuration. Its description is one line: file, line, key and reason.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package let file: String
    package let line: Int?
    package let key: String?
    package let reason: String

    init(file: String, line: Int?, key: String?, _ reason: String) {
        self.file = file
        self.line = line
        self.key = key
        self.reason = reason
    }

    package var description: String {
        file + (line.map { ":\($0)" } ?? "") + ": " + (key.map { $0 + ": " } ?? "") + reason
    }
}
