import Glibc
import GuestSpec
import LinuxKernel
import OCISpec
import Shim
import ShimAPI

/// `exec`: runs a further process in a running container.
package struct ExecProcess {
    package struct Options: Sendable {
        package let consoleSocket: String?
        package let console: String?
        /// File that gets the pid of the attach process.
        package let pidFile: String?
        /// Whether to return when the process runs.
        package let isDetached: Bool

        package init(consoleSocket: String?, console: String?, pidFile: String?, isDetached: Bool) {
            (self.consoleSocket, self.console) = (consoleSocket, console)
            (self.pidFile, self.isDetached) = (pidFile, isDetached)
        }
    }

    private let state: ContainerState
    private let process: Process
    private let options: Options
    private let task: TaskClient
    /// Unique among the container's execs.
    private let exec = "exec-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    private var hasTerminal: Bool { process.terminal ?? false }
    private var usesCallersTerminal: Bool { hasTerminal && options.consoleSocket == nil && !options.isDetached }

    /// - Parameter source: names the process's origin in errors.
    /// - Throws: `SpecError` for a process that is not valid, `SystemError` when the shim's socket has no listener.
    package init(_ process: Process, source: String, of state: ContainerState, _ options: Options) throws {
        try process.validate(source: source)
        for warning in process.warnings() { ErrorLog.shared.warn(warning) }
        (self.state, self.options) = (state, options)
        var process = process
        process.addLimits(.inherited)
        self.process = process
        task = try TaskClient.connect(state.address)
    }

    /// - Returns: the exit status; nil if the process runs on (`isDetached`).
    /// - Throws: `RuntimeError` for a terminal without one to use. `RPCError` with the shim's refusal. `SystemError` of
    ///   the console socket, the attach process or the pid file.
    package func run() throws -> Int32? {
        try checkTerminal()
        let streams = try CallerStreams.paths(
            terminal: hasTerminal, consoleSocket: options.consoleSocket, console: options.console,
            isForeground: !options.isDetached)
        ErrorLog.shared.debug("exec \(state.id): \(exec), \(hasTerminal ? "with" : "without") a terminal")
        var request = Containerd_Task_V2_ExecProcessRequest()
        (request.id, request.execID, request.terminal) = (state.id, exec, hasTerminal)
        request.spec = SpecPart.process.message(process.json())
        (request.stdin, request.stdout, request.stderr) = (streams.stdin, streams.stdout, streams.stderr)
        try task.perform(
            "Exec", request, metadata: streams.plainNewlines ? [ContainerdTasks.plainNewlinesKey: [""]] : [:])
        do { try task.start(state.id, exec: exec) } catch {
            try? task.delete(state.id, exec: exec)
            throw error
        }
        if options.isDetached {
            try detach(terminal: hasTerminal ? streams.stdin : nil)
            return nil
        }
        try writePid(getpid())
        let follower = Follower(
            task: task, id: state.id, exec: exec, terminal: usesCallersTerminal ? Terminal.callers() : -1)
        let status = try follower.followInForeground()
        try? task.delete(state.id, exec: exec)
        return status
    }

    /// A detached process keeps the terminal when the calling program has ended.
    private func checkTerminal() throws(RuntimeError) {
        guard hasTerminal, options.isDetached, options.consoleSocket == nil, options.console == nil, isatty(0) == 0
        else { return }
        throw RuntimeError("--detach --tty: standard input is no terminal; give --console-socket")
    }

    private func detach(terminal: String?) throws {
        let attach = try AttachProcess.spawn(
            address: state.address, id: state.id, exec: exec, terminal: terminal,
            namespace: .path("/proc/\(state.pid)/ns/net"))
        try attach.follow(nil)
        try writePid(attach.pid)
    }

    private func writePid(_ pid: Int32) throws {
        if let file = options.pidFile { try Files.replace(file, "\(pid)", mode: 0o644) }
    }
}
