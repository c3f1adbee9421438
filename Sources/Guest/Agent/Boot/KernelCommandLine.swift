import AgentAPI
import LinuxKernel

/// The agent's settings on the guest kernel's command line.
struct KernelCommandLine: Sendable, Equatable {
    /// The vsock port of the debug console; nil for none.
    var debugConsolePort: UInt32?
    /// A number of seconds on the command line.
    var hotPlugTimeout = Deadline.hotPlug.limit
    var logLevel = AgentLog.Level.info
    /// Words with a dot, which may be a module's parameter `module.name=value`. The agent passes them to modules that
    /// it loads.
    private var dotted: [Substring]

    init(_ text: String) {
        var wantsConsole = false
        var port = GuestPort.debugConsole
        let words = text.split(whereSeparator: \.isWhitespace)
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1)
            let value = parts.count == 2 ? parts[1] : nil
            switch parts.first.map(String.init) {
            case KernelArguments.debugConsole: wantsConsole = value == nil || value == "1" || value == "true"
            case KernelArguments.debugConsolePort: port = value.flatMap { UInt32($0) } ?? port
            case KernelArguments.hotPlugTimeout:
                if let seconds = value.flatMap({ UInt16($0) }) { hotPlugTimeout = .seconds(seconds) }
            case KernelArguments.log: logLevel = value.flatMap { AgentLog.Level(word: $0) } ?? logLevel
            default: break
            }
        }
        if wantsConsole { debugConsolePort = port }
        dotted = words.filter { $0.contains { $0 == "." } }
    }

    /// The parameters for finit_module(2) of a module; modprobe(8) takes them from the same words.
    func parameters(ofModule path: String) -> String {
        let prefix = ModuleName.ofFile(path[...]) + "."
        return dotted.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.utf8.count) }.joined(separator: " ")
    }

    /// The command line of the running kernel.
    static var current: KernelCommandLine { KernelCommandLine((try? Files.readText("/proc/cmdline")) ?? "") }
}
