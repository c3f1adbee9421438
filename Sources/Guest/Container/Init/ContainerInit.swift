import CLinux
import Glibc
import LinuxKernel

/// A process that joins a running container.
package struct ExecPlan: Equatable, Sendable {
    package var process = ProcessPlan()
    /// CLONE_NEW* flags of the container's namespaces.
    package var namespaces: UInt64 = 0
    package var personality: UInt?

    init() {}

    /// - Parameter container: whose namespaces and personality the process shares.
    package init(_ process: ProcessPlan, in container: ContainerPlan) {
        self.process = process
        personality = container.personality
        namespaces = [clx_new_ipc, clx_new_uts, clx_new_pid, clx_new_mount, clx_new_cgroup].reduce(0) {
            $0 | UInt64($1.rawValue)
        }
        // Its own user namespace can't be joined again (setns(2)); a time namespace needs a kernel that has them.
        for flag in [clx_new_user, clx_new_time] where container.namespaces.has(flag) {
            namespaces |= UInt64(flag.rawValue)
        }
    }
}

extension ExecPlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&process)
        coder.code(&namespaces)
        coder.code(&personality)
    }

    package var encoded: [UInt8] { PlanCoder.write(self) }
}

/// The first steps of a container's process, in a copy of the zygote: single-threaded, so that Swift may do them.
package enum ContainerInit: UInt8, Sendable {
    case container
    case exec

    /// In an exec stage: a pidfd of the container's first process.
    package static let targetNumber: Int32 = 4

    /// Ends with the process's program.
    func run() -> Never {
        let sync = SyncSocket(FileDescriptor(owning: SyncSocket.number))
        // The number came through dup2 and so without the flag; exec must close it.
        _ = fcntl(SyncSocket.number, F_SETFD, FD_CLOEXEC)
        let words = try? ErrorPage.Page()
        do {
            switch self {
            case .container: try Self.runContainer(sync)
            case .exec: try Self.runExec(sync)
            }
        } catch {
            words?.write("\(error)")
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }

    /// The file of this program, as long as /proc is the guest's.
    private static var agent: FileFacts? {
        guard let file = try? FileDescriptor.open("/proc/self/exe", Int32(clx_open_path)) else { return nil }
        return FileFacts(file.raw)
    }

    private static func runContainer(_ sync: borrowing SyncSocket) throws -> Never {
        let agent = agent
        let plan = try sync.receive(ContainerPlan.self)
        let filter = try sync.receiveFilter()
        try ProcessSetup.beforeRoot(plan.process)
        if !plan.namespaces.isOneClone { try enterNamespaces(plan.namespaces, sync) }
        if plan.namespaces.newCgroup {
            try checkNegativeErrno("make", "cgroup namespace", clx_unshare(Int32(clx_new_cgroup.rawValue)))
        }
        if !plan.hostname.isEmpty {
            try check("set hostname", plan.hostname) { sethostname(plan.hostname, plan.hostname.utf8.count) }
        }
        if !plan.domainname.isEmpty {
            try check("set domainname", plan.domainname) {
                setdomainname(plan.domainname, plan.domainname.utf8.count)
            }
        }
        var root = try Rootfs(plan)
        try root.build()
        // After the mounts, before /proc/sys may become read-only.
        for setting in plan.sysctls { try Files.write(setting.path, setting.value) }
        root.makeWorkingDirectory()
        if plan.process.terminal {
            let terminal = try root.openTerminal()
            try sync.send(.terminal(terminal.master.raw))
        }
        try root.restrict()
        try root.enter()
        if let personality = plan.personality { try ProcessSetup.setPersonality(personality) }
        try ProcessSetup.execute(plan.process, filter, agent: agent) {
            guard (try? sync.send(.ready)) != nil, sync.waitForGo() else { return false }
            var state = plan.state
            (state.status, state.pid) = (.created, getpid())
            for hook in plan.startHooks { try hook.run("startContainer", state) }
            return true
        }
    }

    /// Joins what is there and makes what is new, in the order that user_namespaces(7) asks for: whoever owns a namespace must be
    /// there first. Returns in the process that is to become the container's.
    private static func enterNamespaces(_ plan: NamespacePlan, _ sync: borrowing SyncSocket) throws {
        var joined: [(flag: UInt64, descriptor: Int32)] = []
        // All of them first: the paths are the guest's.
        for namespace in plan.joined {
            joined.append((namespace.flag, try FileDescriptor.open(namespace.path, O_RDONLY).take()))
        }
        for (index, namespace) in joined.enumerated() {
            try checkNegativeErrno(
                "join", plan.joined[index].path, clx_setns(namespace.descriptor, Int32(namespace.flag)))
            close(namespace.descriptor)
        }
        let users = UInt64(clx_new_user.rawValue)
        let offsets = try openTimeOffsets(plan)
        if plan.new & users != 0 {
            try checkNegativeErrno("make", "user namespace", clx_unshare(Int32(users)))
            try sync.send(.mapUsers)
            guard sync.waitForGo() else { _exit(1) }
        }
        if plan.new & users != 0 || joined.contains(where: { $0.flag == users }) {
            try check("become", "root of the user namespace") { setgid(0) }
            try check("become", "root of the user namespace") { setuid(0) }
        }
        let rest = plan.new & ~users
        try checkNegativeErrno("make", "namespaces", clx_unshare(Int32(rest)))
        if let offsets = offsets.raw { try set(plan.timeOffsets, offsets) }
        try continueInChild(sync)
    }

    /// Opens what takes a new time namespace's clocks. In a user namespace the process can't: its files below /proc are not its own
    /// as long as it is not dumpable; the kernel asks for the rights of who opened the file (time_namespaces(7)).
    private static func openTimeOffsets(_ plan: NamespacePlan) throws(SystemError) -> FileDescriptor? {
        guard plan.new & UInt64(clx_new_time.rawValue) != 0, !plan.timeOffsets.isEmpty else { return nil }
        return try FileDescriptor.open("/proc/self/timens_offsets", O_WRONLY)
    }

    private static func set(_ lines: String, _ offsets: Int32) throws(SystemError) {
        let bytes = Array(lines.utf8)
        try check("set (linux.timeOffsets)", lines.split(separator: "\n").joined(separator: ", ")) {
            write(offsets, bytes, bytes.count)
        }
    }

    /// A new pid or time namespace is its maker's children's (unshare(2)). The child belongs to the agent, as this process does.
    private static func continueInChild(_ sync: borrowing SyncSocket) throws {
        let child = try checkNegativeErrno("fork", "into the container", clx_fork_sibling(0, -1))
        if child > 0 {
            try sync.send(.process(child))
            _exit(0)
        }
        setsid()
    }

    private static func runExec(_ sync: borrowing SyncSocket) throws -> Never {
        _ = fcntl(targetNumber, F_SETFD, FD_CLOEXEC)
        let agent = agent
        let plan = try sync.receive(ExecPlan.self)
        let filter = try sync.receiveFilter()
        try ProcessSetup.beforeRoot(plan.process)
        try checkNegativeErrno("join", "the container", clx_setns(targetNumber, Int32(plan.namespaces)))
        try continueInChild(sync)
        if let personality = plan.personality { try ProcessSetup.setPersonality(personality) }
        if plan.process.terminal {
            let terminal = try ProcessSetup.openTerminal(plan.process) { path in
                let master = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
                return master < 0 ? -errno : master
            }
            try sync.send(.terminal(terminal.master.raw))
        }
        try ProcessSetup.execute(plan.process, filter, agent: agent) {
            (try? sync.send(.ready)) != nil && sync.waitForGo()
        }
    }
}
