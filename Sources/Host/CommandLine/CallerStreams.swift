import Glibc
import Stdio

/// The standard streams of a container's process: the calling program's, or a terminal's.
enum CallerStreams {
    /// - Parameters:
    ///   - terminal: whether the process has a terminal in the guest.
    ///   - isForeground: whether the calling program lives as long as the process. Then the terminal's input and output
    ///     are the caller's standard input and output, whatever they are.
    ///   - output: the caller's standard output.
    static func paths(
        terminal: Bool, consoleSocket: String?, console: String?, isForeground: Bool, output: Int32 = 1
    ) throws -> StreamPaths {
        let own = "/proc/\(getpid())/fd/"
        guard terminal else { return StreamPaths(stdin: own + "0", stdout: own + "\(output)", stderr: own + "2") }
        if let slave = try consoleSocket.map(Terminal.open(consoleSocket:)) ?? console {
            return StreamPaths(stdin: slave, stdout: slave, terminal: true)
        }
        // A detached exec keeps the caller's terminal.
        guard isForeground else { return StreamPaths(stdin: own + "0", stdout: own + "0", terminal: true) }
        return StreamPaths(
            stdin: own + "0", stdout: own + "\(output)", terminal: true, plainNewlines: isatty(output) != 1)
    }
}
