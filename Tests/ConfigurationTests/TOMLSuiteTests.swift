import FoundationEssentials
import LinuxKernel
import Testing

@testable import Configuration

/// The public test suite of TOML (Tests/Corpus/toml-test), all of its cases for TOML 1.0.
///
/// Its cases for TOML 1.1 are left out: Kata's reader takes TOML 1.0.
@Suite("toml-test")
struct TOMLSuiteTests {
    private static let directory =
        #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Corpus/toml-test/"
    private static let files = ((try? Files.readText(directory + "files-toml-1.0.0")) ?? "").split(separator: "\n")
        .map(String.init).filter { $0.hasSuffix(".toml") }
    static let valid = files.filter { $0.hasPrefix("valid/") }
    static let invalid = files.filter { $0.hasPrefix("invalid/") }

    @Test("the suite is complete")
    func complete() { #expect(Self.valid.count == 210 && Self.invalid.count == 499) }

    @Test("a valid document has the values that the suite gives", arguments: valid)
    func accepts(file: String) throws {
        let expected = try Files.read(Self.directory + file.dropLast(".toml".count) + ".json")
        let document = try TOML.read(Files.read(Self.directory + file))
        #expect(
            Tagged(.table(document)) == (try JSONDecoder().decode(Tagged.self, from: Data(expected))))
    }

    @Test("an invalid document is refused", arguments: invalid)
    func refuses(file: String) throws {
        let bytes = try Files.read(Self.directory + file)
        #expect(throws: TOML.Failure.self) { try TOML.read(bytes) }
    }
}

/// A value in the suite's JSON: `{"type": "integer", "value": "1"}`, or an array or object of values.
private indirect enum Tagged: Decodable, Equatable {
    case plain(type: String, value: String)
    case array([Tagged])
    case table([String: Tagged])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let texts = try? container.decode([String: String].self), let type = texts["type"], texts.count == 2,
            let value = texts["value"]
        {
            self = .plain(type: type, value: Self.normalized(value, type))
        } else if let array = try? container.decode([Tagged].self) {
            self = .array(array)
        } else {
            self = .table(try container.decode([String: Tagged].self))
        }
    }

    init(_ value: TOML.Value) {
        switch value {
        case .string(let string): self = .plain(type: "string", value: string)
        case .integer(let integer): self = .plain(type: "integer", value: "\(integer)")
        case .float(let float): self = .plain(type: "float", value: "\(float)")
        case .bool(let bool): self = .plain(type: "bool", value: "\(bool)")
        case .time(let time):
            self = .plain(type: time.kind.rawValue, value: Self.normalized(time.text, time.kind.rawValue))
        case .array(let array): self = .array(array.map(Tagged.init))
        case .table(let table):
            self = .table(
                Dictionary(
                    uniqueKeysWithValues: table.names.compactMap { name in
                        table[name].map { (name, Tagged($0.value)) }
                    }))
        }
    }

    /// The same text for equal values: floats as Swift prints them, times without zeros at the fraction's end.
    private static func normalized(_ value: String, _ type: String) -> String {
        if type == "float" { return Double(value).map { "\($0)" } ?? value }
        guard type.hasPrefix("datetime") || type.hasSuffix("local") else { return value }
        let text = value.uppercased().replacing(" ", with: "T")
        guard let dot = text.firstIndex(of: ".") else { return text }
        let digits = text[text.index(after: dot)...].prefix(while: \.isNumber)
        let fraction = String(digits.reversed().drop { $0 == "0" }.reversed())
        return text[..<dot] + (fraction.isEmpty ? "" : "." + fraction) + text[digits.endIndex...]
    }
}
