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
            try makeWorkingDirectory(plan)
            try root.enter()
            if plan.process.terminal {
                let terminal = try ProcessSetup.openTerminal(plan.process)
                if Files.isDirectory("/proc/self") { try? root.addConsole(terminal.slave) }
                try sync.send(.terminal(terminal.master))
                close(terminal.master)
                close(terminal.slave)
            }
            try root.restrict()
            let ready = { (try? sync.send(.ready)) != nil && sync.waitForStart() }
            try ProcessSetup.execute(plan.process, waitingFor: ready)
        } catch {
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }

    /// A missing working directory is made, as runc does it.
    private static func makeWorkingDirectory(_ plan: ContainerPlan) throws(SystemError) {
        let root = try FileDescriptor.open(plan.rootfs, Int32(clx_open_path) | O_DIRECTORY)
        guard clx_open_in_root(root.raw, plan.process.directory, Int32(clx_open_path), 0) == -ENOENT else { return }
        var prefix = ""
        for name in plan.process.directory.split(separator: "/") {
            let parent = clx_open_in_root(
                root.raw, prefix.isEmpty ? "/" : prefix, Int32(clx_open_path) | O_DIRECTORY, 0)
            guard parent >= 0 else { return }
            mkdirat(parent, String(name), 0o755)
            close(parent)
            prefix += "/" + name
        }
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
            if plan.process.terminal {
                let terminal = try ProcessSetup.openTerminal(plan.process)
                try sync.send(.terminal(terminal.master))
                close(terminal.master)
                close(terminal.slave)
            }
            let ready = { (try? sync.send(.ready)) != nil && sync.waitForStart() }
            try ProcessSetup.execute(plan.process, waitingFor: ready)
        } catch {
            try? sync.send(.failure("\(error)"))
            _exit(1)
        }
    }
}
