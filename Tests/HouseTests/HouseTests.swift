import Foundation
import Testing

/// The house as Package.swift declares it, and as the sources use it.
@Suite("The house")
struct HouseTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// A target below Sources.
    private struct Room {
        let name: String
        let storey: String
        let path: String
        let dependencies: Set<String>
    }

    /// From the bottom up. A storey imports from itself and from those below it; Guest and Host don't know each other.
    private static let storeys = ["Platform": 0, "Contracts": 1, "Guest": 2, "Host": 2, "Tools": 3]

    /// Names of Package.swift's variables for products of packages.
    private static let products = [
        "nioCore": "NIOCore", "nioPosix": "NIOPosix", "log": "Logging", "protobuf": "SwiftProtobuf",
        "arguments": "ArgumentParser",
    ]

    /// Modules that come with the toolchain, or with swift-protobuf.
    private static let always: Set<String> = ["Glibc", "Synchronization", "FoundationEssentials", "_Builtin_float"]

    private static func rooms() throws -> [Room] {
        let text = try String(contentsOfFile: root + "/Package.swift", encoding: .utf8)
        var rooms: [Room] = []
        let room = /room\(\s*"([A-Za-z]+)", in: "([A-Za-z]+)"(?:,\s*\[([^\]]*)\])?/
        for match in text.matches(of: room) {
            let (name, storey) = (String(match.1), String(match.2))
            rooms.append(
                Room(
                    name: name, storey: storey, path: "Sources/\(storey)/\(name)",
                    dependencies: names(match.3.map(String.init) ?? "")))
        }
        for match in text.matches(of: /tool\(\s*"([a-z0-9-]+)",\s*\[([^\]]*)\]/) {
            rooms.append(
                Room(
                    name: String(match.1), storey: "Tools", path: "Sources/Tools/\(match.1)",
                    dependencies: names(String(match.2))))
        }
        let plain =
            /\.target\(\s*name: "([A-Za-z]+)",\s*dependencies: \[([^\]]*)\],\s*path: "Sources\/([A-Za-z]+)\/([^"]*)"/
        for match in text.matches(of: plain) {
            rooms.append(
                Room(
                    name: String(match.1), storey: String(match.3), path: "Sources/\(match.3)/\(match.4)",
                    dependencies: names(String(match.2))))
        }
        return rooms
    }

    private static func names(_ list: String) -> Set<String> {
        Set(
            list.split(separator: ",").map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
                .filter { !$0.isEmpty }
                .map { $0.hasPrefix("\"") ? $0.trimmingCharacters(in: ["\""]) : products[$0] ?? $0 })
    }

    /// The modules that a room's files import, with the first file that does.
    private static func imports(_ room: Room, but others: [Room]) throws -> [String: String] {
        var found: [String: String] = [:]
        let files = FileManager.default.enumerator(atPath: root + "/" + room.path)
        while let file = files?.nextObject() as? String {
            let path = room.path + "/" + file
            guard file.hasSuffix(".swift"), !file.contains("Generated/"),
                !others.contains(where: { $0.path.hasPrefix(room.path + "/") && path.hasPrefix($0.path + "/") })
            else { continue }
            let text = try String(contentsOfFile: root + "/" + path, encoding: .utf8)
            for module in modules(importedBy: text) { found[module, default: path] = path }
        }
        return found
    }

    /// The modules that a source text imports, in every form of the statement.
    private static func modules(importedBy text: String) -> Set<String> {
        let statement =
            /(?m)^[ \t]*(?:@\w+(?:\([^)]*\))?[ \t]+|(?:public|package|internal|fileprivate|private)[ \t]+)*import[ \t]+(?:(?:struct|protocol|class|enum|actor|func|let|var|typealias)[ \t]+)?([A-Za-z_]\w*)/
        return Set(text.matches(of: statement).map { String($0.1) })
    }

    /// Whether a room of one storey may import from another: from below, or from its own.
    private static func mayImport(_ storey: String, from other: String) -> Bool {
        guard let own = storeys[storey], let its = storeys[other] else { return false }
        return its < own || other == storey
    }

    @Test("a room imports what Package.swift declares for it, and nothing else")
    func declared() throws {
        let rooms = try Self.rooms()
        #expect(rooms.count > 35, "\(rooms.map(\.name))")
        for room in rooms {
            for (module, file) in try Self.imports(room, but: rooms) {
                #expect(
                    room.dependencies.contains(module) || Self.always.contains(module),
                    "\(file) imports \(module), which \(room.name) does not declare")
            }
        }
    }

    @Test("no storey imports from one above it, and host and guest don't know each other")
    func downwards() throws {
        let rooms = try Self.rooms()
        let storeys = Dictionary(uniqueKeysWithValues: rooms.map { ($0.name, $0.storey) })
        for room in rooms {
            for module in room.dependencies {
                guard let other = storeys[module] else { continue }
                #expect(
                    Self.mayImport(room.storey, from: other),
                    "\(room.storey)/\(room.name) depends on \(other)/\(module)")
            }
        }
    }

    @Test("only the folder of a hypervisor names it, and the one place that knows all kinds")
    func hypervisors() throws {
        let allowed = [
            "Sources/Host/Hypervisor/QEMU", "Sources/Host/Configuration", "Sources/Host/Shim/HypervisorChoice.swift",
        ]
        let files = FileManager.default.enumerator(atPath: Self.root + "/Sources/Host")
        while let file = files?.nextObject() as? String {
            let path = "Sources/Host/" + file
            guard file.hasSuffix(".swift"), !allowed.contains(where: { path.hasPrefix($0) }) else { continue }
            let text = try String(contentsOfFile: Self.root + "/" + path, encoding: .utf8)
            let code = text.split(separator: "\n").filter { !$0.drop { $0 == " " }.hasPrefix("//") }
            for line in code where line.contains("QEMU") || line.contains("QMP") {
                Issue.record("\(path): \(line)")
            }
        }
    }

    @Test("docs/architecture.md has a row for each room")
    func documented() throws {
        let text = try String(contentsOfFile: Self.root + "/docs/architecture.md", encoding: .utf8)
        for room in try Self.rooms() { #expect(text.contains("| `\(room.name)` |"), "\(room.name)") }
    }

    @Test("docs name tests and folders that exist")
    func namedInDocs() throws {
        let docs = FileManager.default.enumerator(atPath: Self.root + "/docs")?.compactMap { $0 as? String } ?? []
        let tests = FileManager.default.enumerator(atPath: Self.root + "/Tests")?.compactMap { $0 as? String } ?? []
        let sources = try tests.filter { $0.hasSuffix(".swift") }
            .map { try String(contentsOfFile: Self.root + "/Tests/" + $0, encoding: .utf8) }.joined()
        for file in docs where file.hasSuffix(".md") {
            let text = try String(contentsOfFile: Self.root + "/docs/" + file, encoding: .utf8)
            for match in text.matches(of: /\b([A-Z][A-Za-z]+Tests)\b/) {
                #expect(
                    sources.contains("struct \(match.1) ") || tests.contains(String(match.1)),
                    "docs/\(file) names \(match.1)")
            }
            for match in text.matches(of: /`((?:Host|Guest|Platform|Contracts|Tools)\/[A-Za-z\/.]+)`/) {
                #expect(
                    FileManager.default.fileExists(atPath: Self.root + "/Sources/" + match.1),
                    "docs/\(file) names \(match.1)")
            }
        }
    }

    @Test("a check that finds nothing finds a planted one")
    func planted() {
        let list = Self.names("\"Linux\", nioCore,\n  \"A\"")
        #expect(list == ["Linux", "NIOCore", "A"])
        let text = """
            import A
            @testable import B
            package import C
              import struct D.Value
            @preconcurrency public import let E.x
            // import F
            let important = 1
            """
        #expect(Self.modules(importedBy: text) == ["A", "B", "C", "D", "E"])
        #expect(Self.mayImport("Host", from: "Platform") && Self.mayImport("Host", from: "Host"))
        #expect(!Self.mayImport("Platform", from: "Contracts") && !Self.mayImport("Host", from: "Guest"))
    }
}
