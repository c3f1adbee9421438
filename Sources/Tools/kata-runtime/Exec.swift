import AgentAPI
import ArgumentParser
import CLinux
import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Shim
import ShimAPI
import SwiftProtobuf

struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Runs a further program in a running container; with a sandbox's id alone, opens the guest's debug console."
    )
    @Option(name: .shortAndLong, help: "A process.json instead of the options below.") var process: String?
    @Option(help: "Socket that gets the master of the program's terminal.") var consoleSocket: String?
    @Option(help: "Terminal to use; for old Docker.") var console: String?
    @Option(help: "File that gets the program's pid.") var pidFile: String?
    @Flag(name: .shortAndLong, help: "Return once it runs.") var detach = false
    @Flag(name: .shortAndLong, help: "With a terminal.") var tty = false
    @Option(help: "Working directory.") var cwd: String?
    @Option(name: .shortAndLong, help: "NAME=VALUE; may be given more than once.") var env: [String] = []
    @Option(name: .shortAndLong, help: "UID[:GID].") var user: String?
    @Option(name: .shortAndLong, help: "A further group id; may be given more than once.") var additionalGids:
        [UInt32] = []
    @Option(name: .shortAndLong, help: "A further capability; may be given more than once.") var cap: [String] = []
    @Flag(help: "No new privileges by exec.") var noNewPrivs = false
    @Option(help: "SELinux label, for guests that have them.") var processLabel: String?
    @Option(help: "AppArmor profile that is loaded in the guest.") var apparmor: String?
    @Option(help: "Accepted; no descriptor of the host reaches a guest.") var preserveFds: Int?
    @Option(help: "The guest's debug console, on this vsock port (1026), instead of a program.") var kataDebugPort:
        UInt32?
    @Argument(help: "The container's id; or a sandbox's, for its debug console.") var id: String
    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments.") var command: [String] = []
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let root = runtime.global.root
        if kataDebugPort != nil || command.isEmpty && process == nil {
            return try DebugConsole.run(root: root, id: id, port: kataDebugPort ?? GuestPort.debugConsole)
        }
        Follower.blockSignals()
        let state = try ContainerState.load(root: root, id: id).here()
        let specification = try program(of: state)
        try specification.validate(source: process ?? "the command line")
        for warning in specification.warnings() { ErrorLog.shared.warn(warning) }
        let task = try TaskClient.connect(state.address)
        let exec = "exec-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        var request = Containerd_Task_V2_ExecProcessRequest()
        request.id = id
        request.execID = exec
        request.spec.typeURL = "types.containerd.io/opencontainers/runtime-spec/1/Process"
        request.spec.value = .init(specification.json())
        let terminal = specification.terminal ?? false
        request.terminal = terminal
        var follower = Follower(task: task, id: id, exec: exec)
        if terminal, consoleSocket == nil, console == nil, isatty(0) == 0 {
            throw RuntimeError("--tty: standard input is no terminal; give --console-socket")
        }
        if terminal, consoleSocket == nil, !detach { follower.terminal = 0 }
        let streams = try CallerStreams.paths(terminal: terminal, consoleSocket: consoleSocket, console: console)
        request.stdin = streams.stdin
        request.stdout = streams.stdout
        request.stderr = streams.stderr
        try task.perform("Exec", request)
        do { try task.start(id, exec: exec) } catch {
            try? task.delete(id, exec: exec)
            throw error
        }
        if detach {
            let process = try Attach.spawn(
                address: state.address, id: id, exec: exec, terminal: terminal ? request.stdin : nil,
                namespace: .path("/proc/\(state.pid)/ns/net"))
            try process.follow()
            if let pidFile { try Files.replace(pidFile, "\(process.pid)", mode: 0o644) }
            return
        }
        if let pidFile { try Files.replace(pidFile, "\(getpid())", mode: 0o644) }
        let status = try follower.followInForeground()
        try? task.delete(id, exec: exec)
        throw ExitCode(status)
    }

    /// The container's own process with what the options say instead.
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
        if let user {
            let numbers = user.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
            guard (1...2).contains(numbers.count), let uid = numbers[0],
                let gid = numbers.count == 2 ? numbers[1] : result.user.gid
            else { throw RuntimeError("--user \"\(user)\": expected UID or UID:GID, in numbers") }
            result.user.uid = uid
            result.user.gid = gid
        }
        if !additionalGids.isEmpty { result.user.additionalGids = (result.user.additionalGids ?? []) + additionalGids }
        if let processLabel { result.selinuxLabel = processLabel }
        if let apparmor { result.apparmorProfile = apparmor }
        if noNewPrivs { result.noNewPrivileges = true }
        if !cap.isEmpty {
            var sets = result.capabilities ?? Process.Capabilities()
            sets.bounding = (sets.bounding ?? []) + cap
            sets.effective = (sets.effective ?? []) + cap
            sets.permitted = (sets.permitted ?? []) + cap
            result.capabilities = sets
        }
        return result
    }
}
