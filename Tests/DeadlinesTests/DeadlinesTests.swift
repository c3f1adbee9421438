import Glibc
import LinuxKernel
import Testing

@testable import Deadlines

@Suite("deadlines")
struct DeadlinesTests {
    private let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()

    @Test("docs/reliability.md says what the declarations say")
    func reference() throws {
        let page = root + "/docs/reliability.md"
        let text = try Files.readText(page)
        let marks = (begin: "<!-- begin deadlines -->\n", end: "<!-- end deadlines -->")
        let begin = try #require(text.firstRange(of: marks.begin))
        let end = try #require(text.firstRange(of: marks.end))
        if getenv("UPDATE_DOCS") != nil {
            try Files.write(
                page, String(text[..<begin.upperBound]) + Deadline.table + text[end.lowerBound...], mode: 0o644)
        } else {
            #expect(text[begin.upperBound..<end.lowerBound] == Deadline.table, "run UPDATE_DOCS=1 make unit")
        }
    }

    /// Pauses between two looks, delays of what nobody waits for, and units are no deadlines.
    private static let others = ["sleep(", "Pause = Duration", "scheduleTask(in: ", "/ ", "max(Duration"]

    @Test("no part of host, guest or tools has a time of its own to wait for another")
    func noOthers() throws {
        var strays: [String] = []
        for path in ["Host", "Guest", "Tools"].flatMap({ sources(root + "/Sources/" + $0) }) {
            for (number, line) in try Files.readText(path).split(separator: "\n", omittingEmptySubsequences: false)
                .enumerated()
            {
                guard let literal = line.firstRange(of: /\.(milli)?seconds\([0-9]/), !line.contains("///") else {
                    continue
                }
                if Self.others.contains(where: { line[..<literal.lowerBound].hasSuffix($0) }) { continue }
                strays.append("\(path):\(number + 1):\(line)")
            }
        }
        #expect(strays == [], "declare it in Deadline")
    }

    private func sources(_ directory: String) -> [String] {
        Files.list(directory).flatMap { name -> [String] in
            let path = directory + "/" + name
            return Files.isDirectory(path) ? sources(path) : name.hasSuffix(".swift") ? [path] : []
        }
    }
}
