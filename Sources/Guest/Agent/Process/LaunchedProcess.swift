import CLinux
import Container
import Glibc
import LinuxKernel

/// The state that a container's process begins from.
enum Launch: Sendable {
    case container(ContainerPlan)
    /// Joins the namespaces of the process `target`.
    case exec(ExecPlan, target: pid_t, cgroup: Cgroup)

    var process: ProcessPlan {
        get {
            switch self {
            case .container(let plan): plan.process
            case .exec(let plan, _, _): plan.process
            }
        }
        set {
            switch self {
            case .container(var plan):
                plan.process = newValue
                self = .container(plan)
            case .exec(var plan, let target, let cgroup):
                plan.process = newValue
                self = .exec(plan, target: target, cgroup: cgroup)
            }
        }
    }
}

/// A process whose init has done everything but the exec of its program.
struct LaunchedProcess: ~Copyable {
    let pid: pid_t
    let syncSocket: SyncSocket
    let errorPage: FileDescriptor
    let ends: ProcessStreams.Ends

    /// Starts the init and answers it until it is ready. Blocks. On failure, kills the started process.
    /// - Parameter filter: compiled once for all processes of a container.
    /// - Throws: `InitError` with the init's words, or `SystemError`.
    init(_ launch: Launch, _ zygote: Zygote, filter: SeccompFilter?, reaper: Reaper) throws {
        let request = try LaunchRequest(launch)
        let errorPage = try ErrorPage.make()
        let pair = try SocketPair()
        var table = [SyncSocket.number: pair.theirs.raw, ErrorPage.number: errorPage.raw]
        if let target = request.target.raw { table[ContainerInit.targetNumber] = target }
        let first: pid_t
        var ends = ProcessStreams.Ends()
        if request.process.terminal {
            first = try request.start(by: zygote, table)
        } else {
            let stdin = try Pipe()
            let stdout = try Pipe()
            let stderr = try Pipe()
            (table[0], table[1], table[2]) = (stdin.readEnd.raw, stdout.writeEnd.raw, stderr.writeEnd.raw)
            first = try request.start(by: zygote, table)
            ends.stdin = stdin.keepingWriteEnd()
            ends.stdout = stdout.keepingReadEnd()
            ends.stderr = stderr.keepingReadEnd()
        }
        let syncSocket = SyncSocket(pair.keepingOurs())
        syncSocket.setLimit(Deadline.stage.limit)
        var pid = first
        do {
            try Self.prepare(&pid, &ends.terminal, request, filter, syncSocket, reaper)
        } catch {
            kill(pid, SIGKILL)
            reaper.watch(pid) { _ in }
            throw error
        }
        self.pid = pid
        self.syncSocket = syncSocket
        self.errorPage = errorPage
        self.ends = ends
    }

    /// Sends the plan and answers the init's messages until it is ready.
    /// - Parameters:
    ///   - pid: of the init; becomes that of the process that will run the program.
    ///   - terminal: becomes the terminal's master, if there is one.
    private static func prepare(
        _ pid: inout pid_t, _ terminal: inout FileDescriptor?, _ request: borrowing LaunchRequest,
        _ filter: SeccompFilter?, _ syncSocket: borrowing SyncSocket, _ reaper: Reaper
    ) throws {
        try syncSocket.send(document: request.document)
        try syncSocket.send(filter)
        while true {
            switch syncSocket.next() {
            case .ready:
                // Set from outside: root of a user namespace may not raise its limits (prlimit(2)).
                for limit in request.process.limits { try set(limit, of: pid) }
                return
            case .terminal(let descriptor): terminal = FileDescriptor(owning: descriptor)
            case .process(let child):
                reaper.watch(pid) { _ in }
                pid = child
            case .mapUsers:
                // Only a process outside of a new user namespace may write its maps.
                try Files.write("/proc/\(pid)/uid_map", request.users)
                try Files.write("/proc/\(pid)/gid_map", request.groups)
                try syncSocket.sendGo()
            case .failure(let text): throw InitError(text: text)
            case .end:
                throw InitError(
                    text: "the process's init ended without an error message"
                        + (filter == nil ? "" : ": does linux.seccomp allow what sets it up?"))
            }
        }
    }
}

extension LaunchedProcess {
    /// The maximum of descriptors that the guest lets a process have. Hosts with systemd have as many.
    private static let maxDescriptors: UInt64 = 1 << 30

    private static func set(_ limit: ProcessPlan.Limit, of pid: pid_t) throws(SystemError) {
        if limit.resource == Int32(RLIMIT_NOFILE.rawValue) { try allowDescriptors(limit.hard) }
        try checkNegativeErrno(
            "set limit (process.rlimits)", "\(limit.resource)",
            clx_set_rlimit(pid, limit.resource, limit.soft, limit.hard))
    }

    /// Raises the guest's own maximum of descriptors of a process (fs.nr_open): a host may have a larger one.
    private static func allowDescriptors(_ count: UInt64) throws(SystemError) {
        let file = "/proc/sys/fs/nr_open"
        let current = UInt64((try Files.readText(file)).filter(\.isNumber)) ?? 0
        if count > current, count <= maxDescriptors { try Files.write(file, "\(count)") }
    }
}

/// A launch in the form that the zygote and the init receive.
private struct LaunchRequest: ~Copyable {
    let role: ContainerInit
    let process: ProcessPlan
    /// Path of the cgroup that the process begins in.
    let cgroup: String
    /// The encoded plan.
    let document: [UInt8]
    /// CLONE_NEW* flags for the zygote's clone.
    let namespaces: UInt64
    /// uid_map and gid_map of a new user namespace (user_namespaces(7)).
    let users: String
    let groups: String
    /// A pidfd of the process whose namespaces an exec joins.
    let target: FileDescriptor?

    init(_ launch: Launch) throws(SystemError) {
        process = launch.process
        switch launch {
        case .container(let plan):
            (role, document) = (.container, plan.encoded)
            cgroup = Cgroup(plan.cgroup).path
            namespaces = plan.namespaces.isOneClone ? plan.namespaces.new : 0
            (users, groups) = (plan.namespaces.userMap, plan.namespaces.groupMap)
            target = nil
        case .exec(let plan, let first, let group):
            (role, document) = (.exec, plan.encoded)
            cgroup = group.cgroupForExec(of: first).path
            namespaces = 0
            (users, groups) = ("", "")
            target = FileDescriptor(owning: try checkNegativeErrno("find", "process \(first)", clx_pidfd_open(first)))
        }
    }

    func start(by zygote: Zygote, _ descriptors: [Int32: Int32]) throws(SystemError) -> pid_t {
        try zygote.start(role, in: cgroup, namespaces: namespaces, descriptors: descriptors)
    }
}

/// An error that a process's init reported.
struct InitError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}
