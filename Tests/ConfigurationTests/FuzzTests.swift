import LinuxKernel
import Shim
import TestSupport
import Testing

@testable import Configuration

@Suite("Broken configurations", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("a configuration is read or refused with its file's name")
    func fuzzConfigurations() throws {
        let source = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let standard = try Files.read(source + "/config/configuration.toml")
        for input in try Fuzz.inputs("configuration.toml", corpus: "toml", more: [standard], rounds: 1500) {
            let text = String(decoding: input, as: UTF8.self)
            var configuration = Configuration(keys: .all)
            do throws(ConfigurationError) {
                try configuration.merge(text: text, file: "f")
                try configuration.check("f")
            } catch { #expect(error.file == "f") }
        }
    }
}
