import CLinux
import FoundationEssentials
import Glibc
import Linux

/// A process that joins a running container.
package struct ExecPlan: Codable, Sendable {
    package var process: ProcessPlan
    package init(_ process: ProcessPlan) { self.process = process }
}

/// What the agent's own executable does when it is started again as the first step of a container's process.
///
/// It is single-threaded and has finished its own start-up before it gives up the guest's files: the Swift runtime needs /proc.
package enum Stages {
    package static let container = "init-container"
    package static let exec = "init-exec"
    /// In an exec stage: a pidfd of the container's first process.
    package static let targetNumber: Int32 = 4

    package static func runContainer() -> Never {
        let sync = SyncSocket(FileDescriptor(owning: SyncSocket.number))
        // The number came through dup2 and so without the flag; exec must close it.
        _ = fcntl(SyncSocket.number, F_SETFD, FD_CLOEXEC)
        do {
            let plan = try JSONDecoder().decode(ContainerPlan.self, from: Data(try sync.receiveDocument()))
            try ProcessSetup.beforeRoot(plan.process)
            if plan.newCgroupNamespace {
                try checkNegated("make", "cgroup namespace", clx_unshare(Int32(clx_new_cgroup.rawValue)))
            }
            if !plan.hostname.isEmpty {
                try check("set hostname", plan.hostname) { sethostname(plan.hostname, plan.hostname.utf8.count) }
            }
            if !plan.domainname.isEmpty {
                try check("set domainname", plan.domainname) {
                    setdomainname(plan.domainname, plan.domainname.utf8.count)
                }
            }
            let root = try Rootfs(plan)
            try root.build()
            // After the mounts, before /proc/sys may become read-only.
            for setting in plan.sysctls { try Files.write(setting.path, setting.value) }
            root.makeWorkingDirectory()
            try root.enter()
            try giveTerminal(plan.process, sync) { slave in
                if Files.isDirectory("/proc/self") { try? root.addConsole(slave) }
            }
            try root.restrict()
            try execute(plan.process, sync)
        } catch {
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }

    /// Opens the process's terminal, if it has one, and hands its master to the agent.
    private static func giveTerminal(
        _ plan: ProcessPlan, _ sync: borrowing SyncSocket, _ use: (_ slave: Int32) -> Void = { _ in }
    )
        throws
    {
        guard plan.terminal else { return }
        let terminal = try ProcessSetup.openTerminal(plan)
        use(terminal.slave)
        try sync.send(.terminal(terminal.master))
        close(terminal.master)
        close(terminal.slave)
    }

    /// Tells the agent that all is ready but the exec, and goes on when it says so.
    private static func execute(_ plan: ProcessPlan, _ sync: borrowing SyncSocket) throws -> Never {
        try ProcessSetup.execute(plan) { (try? sync.send(.ready)) != nil && sync.waitForStart() }
    }

    package static func runExec() -> Never {
        let sync = SyncSocket(FileDescriptor(owning: SyncSocket.number))
        _ = fcntl(SyncSocket.number, F_SETFD, FD_CLOEXEC)
        _ = fcntl(targetNumber, F_SETFD, FD_CLOEXEC)
        do {
            let plan = try JSONDecoder().decode(ExecPlan.self, from: Data(try sync.receiveDocument()))
            try ProcessSetup.beforeRoot(plan.process)
            let namespaces = [clx_new_ipc, clx_new_uts, clx_new_pid, clx_new_mount, clx_new_cgroup].reduce(UInt32(0)) {
                $0 | $1.rawValue
            }
            try checkNegated("join", "the container", clx_setns(targetNumber, Int32(namespaces)))
            // Only children are in the joined pid namespace (setns(2)); the child belongs to the agent, as this process does.
            let child = try checkNegated("fork", "into the container", clx_fork_sibling())
            if child > 0 {
                try sync.send(.process(child))
                _exit(0)
            }
            setsid()
            try giveTerminal(plan.process, sync)
            try execute(plan.process, sync)
        } catch {
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }
}
