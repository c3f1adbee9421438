import Synchronization
import Testing

@testable import Agent

@Suite("The agent's log")
struct AgentLogTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private func lines(_ level: AgentLog.Level, _ body: (AgentLog) -> Void) -> [String] {
        let lines = Lines()
        body(AgentLog(level: level, write: lines.add))
        return lines.all
    }

    @Test("a line has the agent's name, the message and fields, and can't be forged by a value")
    func form() {
        #expect(lines(.info) { $0.warning("no room", ["at": "/a\nkata-agent: b"]) }.count == 1)
        #expect(lines(.info) { $0.info("ready", ["port": "1024"]) } == ["kata-agent: ready port=1024"])
        #expect(lines(.debug) { $0.debug("call", ["method": "X"]) } == ["kata-agent: debug: call method=X"])
        #expect(!(lines(.info) { $0.info("x", ["at": "/a\nb"]) }.first?.contains("\n") ?? true))
    }

    @Test("the host's diagnosis finds errors by their first words")
    func errors() {
        struct Failure: Error, CustomStringConvertible { let description = "load module /x.ko: no such file" }
        #expect(lines(.info) { $0.error(Failure()) } == ["kata-agent: load module /x.ko: no such file"])
        #expect(lines(.critical) { $0.error(Failure()) }.isEmpty)
    }

    @Test("lines below the level are not written, and their fields not computed")
    func levels() {
        #expect(
            lines(.info) { log in
                log.debug("call", ["never": { fatalError("computed") }()])
            }.isEmpty)
    }

    @Test(
        "the level is Kata's word of the kernel's command line",
        arguments: [
            ("quiet", .info), ("agent.log=debug", .debug), ("agent.log=warn", .warning), ("agent.log=trace x", .trace),
            ("agent.log=loud", .info), ("agent.log", .info),
        ] as [(String, AgentLog.Level)])
    func commandLine(text: String, level: AgentLog.Level) { #expect(KernelCommandLine(text).logLevel == level) }
}
