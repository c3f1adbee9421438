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
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        guard !words.isEmpty else { throw RuntimeError("no program to run: give one after the id, or --process") }
        guard var result = try Spec.load(bundle: state.bundle).process else {
            throw RuntimeError("\(state.bundle)/config.json has no process to take the environment from")
        }
        result.args = words
        result.terminal = tty
        result.consoleSize = nil
        if let cwd { result.cwd = cwd }
        result.env = (result.env ?? []) + env
        if let user { (result.user.uid, result.user.gid) = try Self.ids(user, defaultGroup: result.user.gid) }
        if !additionalGids.isEmpty { result.user.additionalGids = (result.user.additionalGids ?? []) + additionalGids }
        if let processLabel { result.selinuxLabel = processLabel }
        if let apparmor { result.apparmorProfile = apparmor }
        if noNewPrivs { result.noNewPrivileges = true }
        if !cap.isEmpty { result.capabilities = (result.capabilities ?? .init()).adding(cap) }
        return result
    }

    /// - Parameter user: `UID` or `UID:GID`.
    private static func ids(_ user: String, defaultGroup: UInt32) throws(RuntimeError) -> (uid: UInt32, gid: UInt32) {
        let numbers = user.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (1...2).contains(numbers.count), let uid = numbers[0],
            let gid = numbers.count == 2 ? numbers[1] : defaultGroup
        else { throw RuntimeError("--user \"\(user)\": expected UID or UID:GID, in numbers") }
        return (uid, gid)
    }
}
