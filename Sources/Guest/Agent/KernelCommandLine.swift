import Deadlines
import Linux

/// What the host tells the agent by words of the kernel's command line.
struct KernelCommandLine: Sendable, Equatable {
    /// The vsock port of the debug console; nil: there is none.
    var debugConsolePort: UInt32?
    /// In seconds on the command line.
    var hotPlugTimeout = Deadline.hotPlug.limit

    init(_ text: String) {
        var wanted = false
        var port: UInt32 = 1026
        for word in text.split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: "=", maxSplits: 1)
            switch parts[0] {
            case "agent.debug_console": wanted = parts.count == 1 || parts[1] == "1" || parts[1] == "true"
            case "agent.debug_console_vport": if parts.count == 2, let number = UInt32(parts[1]) { port = number }
            case Substring(Deadline.hotPlug.facts.key!):
                if parts.count == 2, let number = UInt16(parts[1]) { hotPlugTimeout = .seconds(number) }
            default: break
            }
        }
        if wanted { debugConsolePort = port }
    }

    static var current: KernelCommandLine { KernelCommandLine((try? Files.readText("/proc/cmdline")) ?? "") }
}
