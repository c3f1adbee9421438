import LinuxKernel
import Testing

/// Suites run side by side, on one host.
@Suite("names of sandboxes")
struct NamesTests {
    @Test("no two suites have a sandbox of the same name")
    func apart() throws {
        let directory = #filePath.split(separator: "/").dropLast().map { "/" + $0 }.joined()
        var suites: [String: Set<String>] = [:]
        for file in Files.list(directory) where file.hasSuffix("Tests.swift") {
            for name in try Files.readText(directory + "/" + file).matches(of: /\bt-[a-z0-9]+(-[a-z0-9]+)*/) {
                suites[String(name.output.0), default: []].insert(file)
            }
        }
        #expect(suites.count > 50, "\(directory) is read")
        #expect(suites.filter { $0.value.count > 1 }.isEmpty)
    }
}
