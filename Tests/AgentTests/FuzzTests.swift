import TestSupport
import Testing

@testable import Agent

@Suite("Figures of a kernel in another form", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("figures of processes, disks, links and memory are read from whatever text there is")
    func fuzzFigures() throws {
        for input in try Fuzz.inputs("the kernel's figures", corpus: "statistics", rounds: 1000) {
            let text = String(decoding: input, as: UTF8.self)
            _ = (ContainerStats.blockIO(text), ContainerStats.links(text))
            var metrics = GuestMetrics()
            metrics.addAgent(statistics: text, status: text, io: text)
            metrics.addGuest(load: text, memory: text, pages: text, processors: text, disks: text, links: text)
        }
        let clock = ProcessTable.Clock(
            ticksPerSecond: 100, uptime: 110, now: 25620, memoryBytes: 100 << 20, pageBytes: 4096)
        let table = try ProcessTable(options: ["-ef"])
        for input in try Fuzz.inputs("the kernel's figures", corpus: "process", rounds: 1000) {
            guard let entry = ProcessEntry(stat: String(decoding: input, as: UTF8.self), commandLine: input, user: 0)
            else { continue }
            _ = table.text([entry], clock)
        }
    }
}
