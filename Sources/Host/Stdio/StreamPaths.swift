/// Where a process's standard streams lead on the host: paths of fifos, files or terminals; empty means nowhere.
package struct StreamPaths: Sendable, Equatable {
    package var stdin = ""
    package var stdout = ""
    package var stderr = ""
    package var terminal = false

    package init(stdin: String = "", stdout: String = "", stderr: String = "", terminal: Bool = false) {
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal
    }
}
