import Glibc
import LinuxKernel
import Testing

@testable import AgentAPI

@Suite("Limits on what a guest sends")
struct GuestLimitTests {
    @Test("docs/reliability.md says what the declarations say")
    func reference() throws {
        let page = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/docs/reliability.md"
        let text = try Files.readText(page)
        let begin = try #require(text.firstRange(of: "<!-- begin guest limits -->\n"))
        let end = try #require(text.firstRange(of: "<!-- end guest limits -->"))
        if getenv("UPDATE_DOCS") != nil {
            try Files.write(
                page, String(text[..<begin.upperBound]) + GuestLimit.table + text[end.lowerBound...], mode: 0o644)
        } else {
            #expect(text[begin.upperBound..<end.lowerBound] == GuestLimit.table, "run UPDATE_DOCS=1 make unit")
        }
    }

    @Test("of what an agent says it can do, only what the host knows is kept")
    func features() {
        #expect(AgentFeature.known(in: ["x", AgentFeature.specJSON, AgentFeature.specJSON]) == [AgentFeature.specJSON])
        #expect(AgentFeature.known(in: ["x"]) == [])
    }
}
