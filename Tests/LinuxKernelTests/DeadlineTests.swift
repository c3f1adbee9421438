import Glibc
import LinuxKernel
import Testing

@Suite("Deadlines")
struct DeadlineTests {
    /// A declaration in a room's Deadlines.swift.
    private struct Declaration {
        let room: String
        let name: String
        let deadline: Deadline

        var row: String {
            let time = Self.text(deadline.limit)
            let limit = deadline.key.map { "`\($0)` (\(time))" } ?? time
            return "| \(deadline.wait) | \(limit) | \(room) | \(deadline.consequence) |\n"
        }

        private static func text(_ time: Duration) -> String {
            let milliseconds = Int(time / .milliseconds(1))
            if milliseconds % 3_600_000 == 0 { return "\(milliseconds / 3_600_000) h" }
            return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
        }
    }

    private let sources = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/Sources"
    private let page = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/docs/reliability.md"

    @Test("docs/reliability.md says what the declarations say")
    func reference() throws {
        let text = try Files.readText(page)
        let marks = (begin: "<!-- begin deadlines -->\n", end: "<!-- end deadlines -->")
        let begin = try #require(text.firstRange(of: marks.begin))
        let end = try #require(text.firstRange(of: marks.end))
        let rows = try declarations().map(\.row)
        let table = "| wait | deadline | room | then |\n|---|---|---|---|\n" + rows.joined()
        if getenv("UPDATE_DOCS") != nil {
            try Files.write(
                page, String(text[..<begin.upperBound]) + table + text[end.lowerBound...], mode: 0o644)
        } else {
            #expect(text[begin.upperBound..<end.lowerBound] == table, "run UPDATE_DOCS=1 make unit")
        }
    }

    @Test("each deadline is used by the source it is declared for")
    func used() throws {
        let text = try swiftFiles(sources).filter { !$0.hasSuffix("/Deadlines.swift") }
            .map { try Files.readText($0) }.joined()
        let uses = Set(text.split(separator: "Deadline.").dropFirst().map { $0.prefix { $0 != "." } })
        let unused = try declarations().filter { !uses.contains($0.name[...]) }
        #expect(unused.map(\.name) == [])
    }

    /// Pauses between polls, delays without a waiter, and units are no deadlines.
    private static let others = ["sleep(", "Pause = Duration", "scheduleTask(in: ", "/ ", "max(Duration"]

    @Test("host, guest and tools wait for each other only with declared deadlines")
    func noOthers() throws {
        var strays: [String] = []
        for path in ["Host", "Guest", "Tools"].flatMap({ swiftFiles(sources + "/" + $0) })
        where !path.hasSuffix("/Deadlines.swift") {
            for (number, line) in try Files.readText(path).split(separator: "\n", omittingEmptySubsequences: false)
                .enumerated()
            {
                // Most lines have no such word: the expression alone takes seconds for all sources.
                guard line.contains("econds("), let literal = line.firstRange(of: /\.(milli)?seconds\([0-9]/),
                    !line.contains("///")
                else { continue }
                if Self.others.contains(where: { line[..<literal.lowerBound].hasSuffix($0) }) { continue }
                strays.append("\(path):\(number + 1):\(line)")
            }
        }
        #expect(strays == [], "declare it in the room's Deadlines.swift")
    }

    // MARK: Reading the sources

    /// The declarations of all rooms, in the order of their paths.
    private func declarations() throws -> [Declaration] {
        let form =
            /static let (?<name>\w+) = Deadline\(\s*\.(?<unit>\w+)\((?<amount>[0-9 *]+)\),\s*for:\s*"(?<wait>[^"]+)",\s*(?:key:\s*"(?<key>[^"]+)",\s*)?then:\s*"(?<then>[^"]+)"\s*\)/
        return try swiftFiles(sources).filter { $0.hasSuffix("/Deadlines.swift") }.flatMap { path in
            let room = String(path.split(separator: "/").dropLast().last ?? "")
            let text = try Files.readText(path)
            let found = text.matches(of: form).map { match in
                let amount = match.amount.split(whereSeparator: { " *".contains($0) }).compactMap { Int($0) }
                    .reduce(1, *)
                let limit: Duration = match.unit == "seconds" ? .seconds(amount) : .milliseconds(amount)
                return Declaration(
                    room: room, name: String(match.name),
                    deadline: Deadline(
                        limit, for: String(match.wait), key: match.key.map(String.init), then: String(match.then)))
            }
            try #require(
                found.count == text.matches(of: /= Deadline\(/).count, "\(path): a declaration has an unknown form")
            return found
        }
    }

    private func swiftFiles(_ directory: String) -> [String] {
        Files.list(directory).sorted().flatMap { name -> [String] in
            let path = directory + "/" + name
            return Files.isDirectory(path) ? swiftFiles(path) : name.hasSuffix(".swift") ? [path] : []
        }
    }
}
