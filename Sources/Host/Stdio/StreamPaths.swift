/// Paths of a process's standard streams on the host: fifos, files or terminals; empty for none.
package struct StreamPaths: Sendable, Equatable {
    package var stdin = ""
    package var stdout = ""
    package var stderr = ""
    package var terminal = false
    /// Whether the guest's terminal sends newlines without a carriage return: stdout is no terminal of the host.
    package var plainNewlines = false

    package init(
        stdin: String = "", stdout: String = "", stderr: String = "", terminal: Bool = false,
        plainNewlines: Bool = false
    ) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
        self.plainNewlines = plainNewlines
    }
}
