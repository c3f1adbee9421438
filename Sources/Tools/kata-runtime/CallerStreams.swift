import Glibc
import Stdio

/// Where a process's standard streams lead: to a terminal of their own, or to this program's.
enum CallerStreams {
    static func paths(terminal: Bool, consoleSocket: String?, console: String?) throws -> StreamPaths {
        let own = "/proc/\(getpid())/fd/"
        guard terminal else { return StreamPaths(stdin: own + "0", stdout: own + "1", stderr: own + "2") }
        let slave = try consoleSocket.map(Terminal.open(consoleSocket:)) ?? console ?? own + "0"
        return StreamPaths(stdin: slave, stdout: slave, terminal: true)
    }
}
