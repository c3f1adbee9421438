import LinuxKernel
import Shim
import Testing

@testable import Configuration

/// Compares the declarations of keys with the code that reads them.
@Suite("Declarations of keys")
struct KeysTests {
    private static let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/Sources"

    /// The texts of all Swift files below a directory.
    private static func sources(below directory: String) -> [(path: String, text: String)] {
        Files.list(directory).flatMap { name -> [(path: String, text: String)] in
            let path = directory + "/" + name
            if Files.isDirectory(path) { return sources(below: path) }
            return name.hasSuffix(".swift") ? (try? Files.readText(path)).map { [(path, $0)] } ?? [] : []
        }
    }

    /// The names behind "Keys." in a source file.
    private static func uses(in text: String) -> Set<String> {
        let (bytes, prefix) = (Array(text.utf8), Array("Keys.".utf8))
        var names: Set<String> = []
        for index in bytes.indices where bytes[index] == prefix[0] && bytes[index...].starts(with: prefix) {
            let name = bytes[(index + prefix.count)...].prefix { Character(Unicode.Scalar($0)).isLetter }
            names.insert(String(decoding: name, as: UTF8.self))
        }
        return names
    }

    /// Lists of paths are read through the key whose annotation they limit (`AnnotationRule.listed`).
    private static var readByRules: Set<String> {
        Set(
            KeySet.all.keys.compactMap { key in
                if case .listed(let list) = key.rule { list } else { nil }
            })
    }

    /// Whether a source declares keys: of any sandbox, or a room's own.
    private static func isDeclaration(_ path: String) -> Bool {
        path.contains("/Configuration/Keys/") || path.hasSuffix("/Keys.swift")
    }

    /// The name in Swift and the key, in the order of the files.
    private static func names(_ text: String) -> [String] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.starts(with: ["package", "static", "let"]) && words.count > 4 && words[4] == "="
                ? String(words[3]) : nil
        }
    }

    @Test("each key that is declared is listed in KeySet.all, once")
    func listed() {
        let declared = Self.sources(below: Self.root + "/Host").filter { Self.isDeclaration($0.path) }
            .flatMap { Self.names($0.text) }
        let listed = KeySet.all.keys.map(\.path)
        #expect(declared.count == listed.count && Set(listed).count == listed.count)
    }

    @Test("each key that is declared is read somewhere, or is a list that limits an annotation")
    func read() {
        let files = Self.sources(below: Self.root + "/Host") + Self.sources(below: Self.root + "/Tools")
        let declared = files.filter { Self.isDeclaration($0.path) }.flatMap { Self.names($0.text) }
        let used = files.filter { !Self.isDeclaration($0.path) }.reduce(into: Set<String>()) {
            $0.formUnion(Self.uses(in: $1.text))
        }
        // shared_fs has one allowed value so far, which the reader of the file checks.
        let unread = Set(declared).subtracting(used).subtracting(["sharedFS"]).filter { !$0.hasPrefix("valid") }
        #expect(unread.isEmpty)
        #expect(Self.readByRules.count == declared.filter { $0.hasPrefix("valid") }.count)
    }

    @Test("a key has an effect or is accepted without one, not both")
    func separate() {
        for key in KeySet.all.keys {
            let isWithout = Keys.acceptedWithoutEffect[key.table]?.contains(key.name) == true
            #expect(!isWithout, "\(key.path)")
        }
    }

    @Test("a whole number with a fraction is rounded up; what no whole number holds is refused")
    func numbers() throws {
        var configuration = Configuration(keys: .all)
        try configuration.merge(text: "[hypervisor.qemu]\ndefault_memory = 512.5\ndefault_vcpus = 1.5\n", file: "c")
        #expect(configuration[Keys.memory] == 513 && configuration[Keys.vcpus] == 1.5)
        for number in ["1e300", "nan", "inf", "9223372036854775807.0"] {
            #expect(throws: ConfigurationError.self, "\(number)") {
                try configuration.merge(text: "[hypervisor.qemu]\ndefault_vcpus = \(number)\n", file: "c")
            }
        }
    }
}
