import ArgumentParser
import CommandLine
import LinuxKernel
import OCISpec

struct Exec: ChangingCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Runs a further program in a running container; with only a sandbox's id, opens the guest's debug console."
    )
    @Option(name: .shortAndLong, help: "A process.json to use instead of the options below.") var process: String?
    @Option(help: "Socket that gets the master of the program's terminal.") var consoleSocket: String?
    @Option(help: "Path of the terminal to use; for old Docker.") var console: String?
    @Option(help: "File that gets the program's pid.") var pidFile: String?
    @Flag(name: .shortAndLong, help: "Return when the program runs.") var detach = false
    @Flag(name: .shortAndLong, help: "Give the program a terminal.") var tty = false
    @Option(help: "Working directory.") var cwd: String?
    @Option(name: .shortAndLong, help: "NAME=VALUE; may be given more than once.") var env: [String] = []
    @Option(name: .shortAndLong, help: "UID[:GID].") var user: String?
    @Option(name: .shortAndLong, help: "A further group id; may be given more than once.") var additionalGids:
        [UInt32] = []
    @Option(name: .shortAndLong, help: "A further capability; may be given more than once.") var cap: [String] = []
    @Flag(help: "Forbid new privileges by execve(2).") var noNewPrivs = false
    @Option(help: "SELinux label, for guests with SELinux.") var processLabel: String?
    @Option(help: "AppArmor profile: a manager's default one, or one that is loaded in the guest.") var apparmor:
        String?
    @Option(help: "Refused unless 0: no descriptor of the host reaches a guest.") var preserveFds: Int?
    @Option(help: "Refused unless /: a program runs in its container's own cgroup.") var cgroup: [String] = []
    @Option(help: "Open the guest's debug console on this vsock port (1026) instead of running a program.")
    var kataDebugPort: UInt32?
    @Argument(help: "The container's id; or a sandbox's, for its debug console.") var id: String
    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments.") var command: [String] = []
    @ParentCommand var runtime: KataRuntime

    /// The exit status of a program that does not run, as runc has it: 1 may be the program's own.
    static let failureStatus: Int32 = 255

    func run() throws {
        if kataDebugPort != nil || command.isEmpty && process == nil {
            return try DebugConsoleClient.run(root: runtime.context.root, id: id, port: kataDebugPort)
        }
        let status: Int32?
        do { status = try runProgram() } catch {
            ErrorLog.shared.report("\(error)")
            throw ExitCode(Self.failureStatus)
        }
        if let status { throw ExitCode(status) }
    }

    /// - Returns: the program's exit status; nil if it runs on.
    private func runProgram() throws -> Int32? {
        try RuncOptions.check(preserved: preserveFds)
        try RuncOptions.check(cgroups: cgroup)
        Follower.blockSignals()
        let state = try runtime.context.state(id).here()
        let options = ExecProcess.Options(
            consoleSocket: consoleSocket, console: console, pidFile: pidFile, isDetached: detach)
        let exec = try ExecProcess(
            program(of: state), source: process ?? "the command line", of: state, options)
        return try exec.run()
    }
}

extension Exec {
    /// The process to run: --process, or the container's own process with the changes of the options.
    private func program(of state: ContainerState) throws -> OCISpec.Process {
        if let process { return try OCISpec.Process.decode(json: try Files.read(process), source: process) }
        return try FurtherProgram(command, terminal: tty, changes).process(in: state)
    }

    private var changes: FurtherProgram.Changes {
        var changes = FurtherProgram.Changes()
        (changes.cwd, changes.env, changes.user, changes.additionalGids) = (cwd, env, user, additionalGids)
        (changes.cap, changes.noNewPrivs, changes.processLabel, changes.apparmor) = (
            cap, noNewPrivs, processLabel, apparmor
        )
        return changes
    }
}
