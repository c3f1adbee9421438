import LinuxKernel

/// What the host tells the agent by words of the kernel's command line.
struct KernelCommandLine: Sendable, Equatable {
    /// The vsock port of the debug console; nil: there is none.
    var debugConsolePort: UInt32?
    /// In seconds on the command line.
    var hotPlugTimeout = Deadline.hotPlug.limit
    /// Words for modules, `module.name=value`: built into the kernel they are its own affair, loaded by the agent they are told.
    private var dotted: [Substring]

    init(_ text: String) {
        var wanted = false
        var port: UInt32 = 1026
        for word in text.split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: "=", maxSplits: 1)
            switch parts[0] {
            case "agent.debug_console": wanted = parts.count == 1 || parts[1] == "1" || parts[1] == "true"
            case "agent.debug_console_vport": if parts.count == 2, let number = UInt32(parts[1]) { port = number }
            case Substring(Deadline.hotPlug.key!):
                if parts.count == 2, let number = UInt16(parts[1]) { hotPlugTimeout = .seconds(number) }
            default: break
            }
        }
        if wanted { debugConsolePort = port }
        dotted = text.split(whereSeparator: \.isWhitespace).filter { $0.contains { $0 == "." } }
    }

    /// What finit_module(2) is told of a module (modprobe(8) reads it from the same place).
    func parameters(ofModule path: String) -> String {
        let file = path.split(separator: "/").last ?? ""
        let name = String(file.prefix { $0 != "." }.map { $0 == "-" ? "_" : $0 }) + "."
        return dotted.filter { $0.hasPrefix(name) }.map { $0.dropFirst(name.utf8.count) }.joined(separator: " ")
    }

    static var current: KernelCommandLine { KernelCommandLine((try? Files.readText("/proc/cmdline")) ?? "") }
}
