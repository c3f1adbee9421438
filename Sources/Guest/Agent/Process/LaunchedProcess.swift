import CLinux
import Container
import Glibc
import LinuxKernel

/// What a process of a container begins from.
enum Launch: Sendable {
    case container(ContainerPlan)
    /// Joins the container of the process `target`.
    case exec(ExecPlan, target: pid_t, cgroup: String)
}

/// A process that has done everything but the exec of its program.
struct LaunchedProcess: ~Copyable {
    let pid: pid_t
    let conversation: SyncSocket
    let lastWords: FileDescriptor
    let ends: ProcessStreams.Ends

    /// Starts its stage, and talks to it until it is ready. Blocks; what was started ends when it throws.
    /// - Parameter filter: of system calls, compiled once for all processes of a container.
    init(_ launch: Launch, _ zygote: Zygote, filter: SeccompFilter?, reaper: Reaper) throws {
        let order = try Order(launch)
        let lastWords = try LastWords.make()
        let pair = try SocketPair()
        var table = [SyncSocket.number: pair.theirs.raw, LastWords.number: lastWords.raw]
        if let target = order.target.raw { table[Stage.targetNumber] = target }
        let stage: pid_t
        var ends = ProcessStreams.Ends()
        if order.process.terminal {
            stage = try order.start(by: zygote, table)
        } else {
            let stdin = try Pipe()
            let stdout = try Pipe()
            let stderr = try Pipe()
            (table[0], table[1], table[2]) = (stdin.readEnd.raw, stdout.writeEnd.raw, stderr.writeEnd.raw)
            stage = try order.start(by: zygote, table)
            ends.stdin = stdin.keepingWriteEnd()
            ends.stdout = stdout.keepingReadEnd()
            ends.stderr = stderr.keepingReadEnd()
        }
        let conversation = SyncSocket(pair.keepingOurs())
        conversation.setLimit(Deadline.stage.limit)
        var pid = stage
        do {
            try Self.prepare(&pid, &ends.terminal, order, filter, conversation, reaper)
        } catch {
            kill(pid, SIGKILL)
            reaper.watch(pid) { _ in }
            throw error
        }
        self.pid = pid
        self.conversation = conversation
        self.lastWords = lastWords
        self.ends = ends
    }

    /// - Parameters:
    ///   - pid: the stage's; becomes that of the process that will run the program.
    ///   - terminal: becomes the terminal's master, if there is one.
    private static func prepare(
        _ pid: inout pid_t, _ terminal: inout FileDescriptor?, _ order: borrowing Order, _ filter: SeccompFilter?,
        _ conversation: borrowing SyncSocket, _ reaper: Reaper
    ) throws {
        try conversation.send(document: order.document)
        try conversation.send(filter)
        while true {
            switch conversation.next() {
            case .ready:
                // From outside: root of a user namespace may not raise what it has (prlimit(2)).
                for limit in order.process.limits {
                    try checkNegativeErrno(
                        "set limit (process.rlimits)", "\(limit.resource)",
                        clx_set_rlimit(pid, limit.resource, limit.soft, limit.hard))
                }
                return
            case .terminal(let descriptor): terminal = FileDescriptor(owning: descriptor)
            case .process(let joined):
                reaper.watch(pid) { _ in }
                pid = joined
            case .mapUsers:
                // Only a process outside of a new user namespace may say which ids it has.
                try Files.write("/proc/\(pid)/uid_map", order.users)
                try Files.write("/proc/\(pid)/gid_map", order.groups)
                try conversation.sendGo()
            case .failure(let text): throw StageError(text: text)
            case .end:
                throw StageError(
                    text: "the first step of the process ended without a word"
                        + (filter == nil ? "" : ": does linux.seccomp allow what sets it up?"))
            }
        }
    }
}

/// What a launch asks of the zygote, and tells the stage.
private struct Order: ~Copyable {
    let stage: Stage
    let process: ProcessPlan
    /// Path of the cgroup that it begins in.
    let cgroup: String
    let document: [UInt8]
    let namespaces: UInt64
    /// uid_map and gid_map of a new user namespace (user_namespaces(7)).
    let users: String
    let groups: String
    /// The process whose container is joined (pidfd_open(2)).
    let target: FileDescriptor?

    init(_ launch: Launch) throws(SystemError) {
        switch launch {
        case .container(let plan):
            (stage, process, document) = (.container, plan.process, plan.passed)
            cgroup = Cgroup(plan.cgroup).path
            namespaces = plan.namespaces.isOneClone ? plan.namespaces.new : 0
            (users, groups) = (plan.namespaces.userMap, plan.namespaces.groupMap)
            target = nil
        case .exec(let plan, let first, let group):
            (stage, process, document) = (.exec, plan.process, plan.passed)
            cgroup = Cgroup(group).joinable(beside: first).path
            namespaces = 0
            (users, groups) = ("", "")
            target = FileDescriptor(owning: try checkNegativeErrno("find", "process \(first)", clx_pidfd_open(first)))
        }
    }

    func start(by zygote: Zygote, _ descriptors: [Int32: Int32]) throws(SystemError) -> pid_t {
        try zygote.start(stage, in: cgroup, namespaces: namespaces, descriptors: descriptors)
    }
}

/// What the stage said when it failed.
struct StageError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}
