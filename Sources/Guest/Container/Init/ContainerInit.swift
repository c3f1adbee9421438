import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// The first steps of a container's process, in a copy of the zygote. It has one thread, so Swift code is safe between
/// fork and exec.
package enum ContainerInit: UInt8, Sendable {
    /// Builds a new container.
    case container
    /// Joins a running one.
    case exec

    /// Descriptor number of an exec's pidfd of the container's first process.
    package static let targetNumber: Int32 = 4

    /// Executes the process's program in the end.
    func run() -> Never {
        let sync = SyncSocket(FileDescriptor(owning: SyncSocket.number))
        // dup2 cleared the flag; exec must close the descriptor.
        _ = fcntl(SyncSocket.number, F_SETFD, FD_CLOEXEC)
        let page = try? ErrorPage.Page()
        do {
            switch self {
            case .container: try Self.runContainer(sync)
            case .exec: try Self.runExec(sync)
            }
        } catch {
            page?.write("\(error)")
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }

    /// The agent's executable file. Read it while /proc is still the guest's.
    private static var agent: FileFacts? {
        guard let file = try? FileDescriptor.open("/proc/self/exe", Int32(clx_open_path)) else { return nil }
        return FileFacts(file.raw)
    }

    private static func runContainer(_ sync: borrowing SyncSocket) throws -> Never {
        let agent = agent
        let plan = try sync.receive(ContainerPlan.self)
        let filter = try sync.receiveFilter()
        try ProcessSetup.beforeRoot(plan.process)
        // Before the user namespace, which has no rights over the guest's network.
        try NetworkSysctls(settings: plan.networkSysctls, namespaces: plan.namespaces).write()
        if !plan.namespaces.isOneClone { try enterNamespaces(plan.namespaces, sync) }
        if plan.namespaces.newCgroup {
            try checkNegativeErrno("make", "cgroup namespace", clx_unshare(Int32(clx_new_cgroup.rawValue)))
        }
        if !plan.hostname.isEmpty {
            // SAFETY: the call reads as many bytes as the name has.
            try check("set hostname", plan.hostname) { unsafe sethostname(plan.hostname, plan.hostname.utf8.count) }
        }
        if !plan.domainname.isEmpty {
            // SAFETY: the call reads as many bytes as the name has.
            try check("set domainname", plan.domainname) {
                unsafe setdomainname(plan.domainname, plan.domainname.utf8.count)
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
        let hooks = StartHooks(hooks: plan.startHooks, state: plan.state)
        try ProcessSetup.execute(plan.process, filter, hooks, agent: agent) {
            (try? sync.send(.ready)) != nil && sync.waitForGo()
        }
    }

    /// Joins existing namespaces and makes new ones; a user namespace first, as it owns the others
    /// (user_namespaces(7)). Returns in the process that becomes the container's.
    private static func enterNamespaces(_ plan: NamespacePlan, _ sync: borrowing SyncSocket) throws {
        var joined: [(flag: UInt64, descriptor: Int32)] = []
        // Open all before joining any: the paths are the guest's.
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

    /// Opens the file that sets a new time namespace's clocks. Inside a user namespace the open would fail: the process
    /// isn't dumpable, so it doesn't own its files below /proc. A write needs the opener's rights only
    /// (time_namespaces(7)).
    private static func openTimeOffsets(_ plan: NamespacePlan) throws(SystemError) -> FileDescriptor? {
        guard plan.new & UInt64(clx_new_time.rawValue) != 0, !plan.timeOffsets.isEmpty else { return nil }
        return try FileDescriptor.open("/proc/self/timens_offsets", O_WRONLY)
    }

    private static func set(_ lines: String, _ offsets: Int32) throws(SystemError) {
        let bytes = Array(lines.utf8)
        // SAFETY: write(2) reads as many bytes as the array has.
        try check("set (linux.timeOffsets)", lines.split(separator: "\n").joined(separator: ", ")) {
            unsafe write(offsets, bytes, bytes.count)
        }
    }

    /// Goes on in a child: a new pid or time namespace holds only children of its maker (unshare(2)). The child's
    /// parent is the agent.
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
                // SAFETY: the call only reads the path.
                let master = unsafe open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
                return master < 0 ? -errno : master
            }
            try sync.send(.terminal(terminal.master.raw))
        }
        try ProcessSetup.execute(plan.process, filter, nil, agent: agent) {
            (try? sync.send(.ready)) != nil && sync.waitForGo()
        }
    }
}
