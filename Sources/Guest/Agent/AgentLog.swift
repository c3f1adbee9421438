import AgentAPI
import LinuxKernel

/// The agent's log: lines on the guest's console, which the host can read even when the agent doesn't answer.
///
/// A line is `kata-agent: <message> key=value …`. Lines below `info` say their level too.
struct AgentLog: Sendable {
    /// The levels of Kata's agent (slog), the least important first.
    enum Level: String, CaseIterable, Comparable, Sendable {
        case trace, debug, info, warning, error, critical

        static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

        /// - Parameter word: a level's name, or `warn` as Kata's documentation has it; nil for any other word.
        init?(word: some StringProtocol) {
            guard let level = word == "warn" ? .warning : Level(rawValue: String(word)) else { return nil }
            self = level
        }
    }

    typealias Fields = KeyValuePairs<StaticString, String>

    let level: Level
    private let write: @Sendable (String) -> Void

    init(level: Level, write: @escaping @Sendable (String) -> Void = writeError) {
        self.level = level
        self.write = write
    }

    func debug(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) { log(.debug, message, fields) }
    func info(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) { log(.info, message, fields) }
    func warning(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) { log(.warning, message, fields) }

    /// Logs an error that no other code reports. The error's text follows the prefix: the host's diagnosis looks for
    /// it.
    func error(_ error: any Error) {
        guard level <= .error else { return }
        write(ConsoleLine.agentPrefix + "\(error)")
    }

    private func log(_ level: Level, _ message: StaticString, _ fields: () -> Fields) {
        guard self.level <= level else { return }
        var line = ConsoleLine.agentPrefix + (level < .info ? "\(level.rawValue): " : "") + "\(message)"
        for (key, value) in fields() { line += " \(key)=\(value.printable())" }
        write(line)
    }
}

/// The agent's one log; its level comes from the kernel command line.
let log = AgentLog(level: KernelCommandLine.current.logLevel)
