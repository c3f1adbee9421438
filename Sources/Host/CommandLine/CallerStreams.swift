import Glibc
import Stdio

/// The standard streams of a container's process: a terminal, or the calling program's streams.
enum CallerStreams {
    static func paths(terminal: Bool, consoleSocket: String?, console: String?) throws -> StreamPaths {
        let own = "/proc/\(getpid())/fd/"
        guard terminal else { return StreamPaths(stdin: own + "0", stdout: own + "1", stderr: own + "2") }
        let slave = try consoleSocket.map(Terminal.open(consoleSocket:)) ?? console ?? own + "0"
        return StreamPaths(stdin: slave, stdout: slave, terminal: true)
    }
}
