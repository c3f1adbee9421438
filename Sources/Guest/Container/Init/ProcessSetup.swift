import CLinux
import Glibc
import LinuxKernel

/// The last steps of a process before its program: user, capabilities, directory, exec.
enum ProcessSetup {
    /// Settings that need the guest's /proc: the container's may be missing or read-only.
    static func beforeRoot(_ plan: ProcessPlan) throws(SystemError) {
        // Systemd may protect the agent from the OOM killer; processes of containers don't inherit that.
        if let adjustment = plan.oomScoreAdjustment {
            try Files.write("/proc/self/oom_score_adj", "\(adjustment)")
        } else {
            try? Files.write("/proc/self/oom_score_adj", "0")
        }
        if !plan.initialProcessors.isEmpty { try setAffinity(plan.initialProcessors, "initial") }
        if let wanted = plan.scheduler {
            var attributes = clx_scheduler(
                policy: wanted.policy, priority: wanted.priority, nice: wanted.nice, flags: wanted.flags,
                runtime: wanted.runtime, deadline: wanted.deadline, period: wanted.period)
            // SAFETY: the call only reads the structure.
            try checkNegativeErrno(
                "set (process.scheduler)", "policy \(wanted.policy)", unsafe clx_set_scheduler(&attributes))
        }
        if let wanted = plan.ioPriority {
            try checkNegativeErrno(
                "set (process.ioPriority)", "class \(wanted.class), priority \(wanted.level)",
                clx_set_io_priority(wanted.class, wanted.level))
        }
        if let profile = plan.securityProfile { try setForExec(profile) }
    }

    /// Sets the security profile for the next exec, through the thread's own file (proc_pid_attr(5)).
    private static func setForExec(_ profile: ProcessPlan.SecurityProfile) throws(SystemError) {
        switch profile {
        case .appArmor(let name):
            // The guest's kernel needs AppArmor and the profile; the host's profiles don't count.
            do { try Files.write("/proc/thread-self/attr/apparmor/exec", "exec " + name) } catch {
                throw SystemError(
                    "apply profile (process.apparmorProfile), which must be loaded in the guest,", name,
                    errno: error.code)
            }
        case .seLinux(let label):
            guard Files.isDirectory("/sys/fs/selinux") else {
                throw SystemError(
                    "apply label (process.selinuxLabel) without SELinux in the guest,", label, errno: ENOSYS)
            }
            // Without a policy the kernel accepts every label silently (security_context_to_sid).
            let own = try Files.readText("/proc/thread-self/attr/current")
            guard own.prefix(while: { $0 != "\0" && $0 != "\n" }) != "kernel" else {
                throw SystemError(
                    "apply label (process.selinuxLabel) without a policy in the guest,", label, errno: EINVAL)
            }
            do { try Files.write("/proc/thread-self/attr/exec", label) } catch {
                throw SystemError(
                    "apply label (process.selinuxLabel), which the guest's policy must know,", label,
                    errno: error.code)
            }
        }
    }

    private static func setAffinity(_ processors: [Int32], _ field: String) throws(SystemError) {
        // SAFETY: the call reads as many numbers as the array has.
        try checkNegativeErrno(
            "use processors (process.execCPUAffinity.\(field))", "\(processors)",
            unsafe clx_set_affinity(processors, processors.count))
    }

    static func setPersonality(_ domain: UInt) throws(SystemError) {
        try checkNegativeErrno("set (linux.personality)", "domain \(domain)", clx_set_personality(domain))
    }

    /// Opens a terminal, makes it the controlling one and the standard streams.
    /// - Parameter open: opens a path of the container for reading and writing; returns a descriptor or -errno.
    /// - Returns: the terminal's two ends.
    static func openTerminal(_ plan: ProcessPlan, _ open: (_ path: String) -> Int32) throws(SystemError)
        -> PseudoTerminal
    {
        var (path, master) = ("/dev/pts/ptmx", open("/dev/pts/ptmx"))
        if master == -ENOENT || master == -ENOTDIR { (path, master) = ("/dev/ptmx", open("/dev/ptmx")) }
        let terminal: PseudoTerminal
        do throws(SystemError) {
            let master = FileDescriptor(owning: try checkNegativeErrno("open a terminal from", path, master))
            terminal = try PseudoTerminal(master: master, name: path)
        } catch {
            throw SystemError(error.operation, error.object + " (is devpts mounted on /dev/pts?)", errno: error.code)
        }
        let slave = terminal.slave.raw
        if plan.rows > 0 { _ = clx_set_window_size(terminal.master.raw, plan.rows, plan.columns) }
        try checkNegativeErrno("control", "terminal", clx_set_controlling_terminal(slave))
        for standard in Int32(0)...2 { try check("use", "terminal") { dup2(slave, standard) } }
        fchown(slave, plan.user, gid_t(bitPattern: -1))
        return terminal
    }

    /// Sets user, groups and capabilities, then executes the program. Returns only by throwing.
    ///
    /// - Parameters:
    ///   - filter: with no_new_privs it is loaded last, so that the profile need not allow the calls made here.
    ///     Without, loading needs CAP_SYS_ADMIN, so it comes first and the profile must allow the rest (as under runc).
    ///   - hooks: run under the filter, after the go-ahead.
    ///   - agent: the agent's file, which must not become the program.
    ///   - go: waits for the go-ahead; false when the agent has given up.
    static func execute(
        _ plan: ProcessPlan, _ filter: SeccompFilter?, _ hooks: StartHooks?, agent: FileFacts?,
        waitingFor go: () -> Bool
    ) throws -> Never {
        // SAFETY: chdir(2), here and below, only reads the path.
        let entered = unsafe chdir(plan.directory) == 0
        if !entered, errno != EACCES {
            throw SystemError("change to directory (process.cwd)", plan.directory, errno: errno)
        }

        if !plan.noNewPrivileges { try filter?.load() }
        let sets =
            plan.capabilities
            ?? ProcessPlan.Capabilities(bounding: 0, effective: 0, inheritable: 0, permitted: 0, ambient: 0)
        // Before the user changes: dropping needs CAP_SETPCAP (capabilities(7)).
        try checkNegativeErrno("bound", "capabilities", clx_bound_capabilities(sets.bounding))
        try checkNegativeErrno("keep", "capabilities", clx_set_keep_capabilities(1))
        // SAFETY: setgroups(2) reads as many groups as the array has.
        try check("set", "additional groups") { unsafe setgroups(plan.groups.count, plan.groups) }
        try check("set", "group \(plan.group)") { setgid(plan.group) }
        try check("set", "user \(plan.user)") { setuid(plan.user) }
        // The change of user reset this to fs.suid_dumpable (prctl(2)).
        try checkNegativeErrno("hide", "the process", clx_set_dumpable(0))
        try checkNegativeErrno(
            "set", "capabilities", clx_set_capabilities(sets.effective, sets.permitted, sets.inheritable))
        // An ambient capability must be permitted and inheritable too (capabilities(7)). Leave out others, as runc
        // does.
        let ambient = sets.ambient & sets.permitted & sets.inheritable
        try checkNegativeErrno("set", "ambient capabilities", clx_set_ambient_capabilities(ambient))
        try checkNegativeErrno("drop", "kept capabilities", clx_set_keep_capabilities(0))
        if !entered { try check("change to directory (process.cwd)", plan.directory) { unsafe chdir(plan.directory) } }
        try checkDirectory(plan.directory)
        if plan.noNewPrivileges { try checkNegativeErrno("set", "no_new_privs", clx_set_no_new_privileges()) }
        umask(mode_t(plan.umask))

        let environment = environment(of: plan)
        let program = try find(plan.arguments[0], environment: environment)
        guard !isFile(program, agent) else { throw AgentAsProgram(name: plan.arguments[0]) }
        if !plan.finalProcessors.isEmpty { try setAffinity(plan.finalProcessors, "final") }
        guard go() else { _exit(0) }
        try finish(plan, filter, hooks, environment)
        // SAFETY: both vectors end with NULL, and live until execve(2) has failed.
        _ = unsafe withCStrings(plan.arguments) { arguments in
            unsafe withCStrings(environment) { environment in unsafe execve(program, arguments, environment) }
        }
        throw SystemError("execute", program, errno: errno)
    }

    /// Loads the filter that had to wait for no_new_privs, then runs the hooks: they are under it, as under runc.
    static func finish(
        _ plan: ProcessPlan, _ filter: SeccompFilter?, _ hooks: StartHooks?, _ environment: [String]
    ) throws {
        if plan.noNewPrivileges { try filter?.load() }
        try hooks?.run(environment: environment)
    }

    /// The program's environment: with the user's home directory if the plan has none, as under runc.
    private static func environment(of plan: ProcessPlan) -> [String] {
        if plan.environment.contains(where: { $0.hasPrefix("HOME=") }) { return plan.environment }
        return plan.environment + ["HOME=" + home(of: plan.user)]
    }

    /// Refuses a directory outside of the container's root: a leaked descriptor could lead there (CVE-2024-21626), and
    /// getcwd(2) then fails with ENOENT.
    private static func checkDirectory(_ path: String) throws(SystemError) {
        // SAFETY: without a buffer, getcwd(3) allocates one that the name fits in.
        guard let name = unsafe getcwd(nil, 0) else {
            guard errno == ENOENT else { return }
            throw SystemError("change to directory (process.cwd) outside of the container's root,", path, errno: ENOENT)
        }
        // SAFETY: getcwd(3) has allocated the name for its caller.
        unsafe free(name)
    }

    /// Whether a path leads to `file`, also by a magic link: /proc/self/exe is the agent here (CVE-2019-5736).
    private static func isFile(_ path: String, _ file: FileFacts?) -> Bool {
        guard let file, let found = try? FileDescriptor.open(path, Int32(clx_open_path)) else { return false }
        return FileFacts(found.raw)?.isSame(as: file) ?? false
    }

    /// The program's path: a name without a slash is searched in PATH (execvp(3)).
    private static func find(_ name: String, environment: [String]) throws -> String {
        if name.contains("/") {
            // Check before the go-ahead, so that creation fails. Unlike access(2), this respects the capabilities.
            // SAFETY: faccessat(2), and access(2) below, only read the path.
            if unsafe faccessat(AT_FDCWD, name, X_OK, AT_EACCESS) != 0,
                [ENOENT, ENOTDIR, EACCES, ELOOP].contains(errno)
            {
                throw SystemError("execute", name, errno: errno)
            }
            guard !Files.isDirectory(name) else { throw SystemError("execute", name, errno: EACCES) }
            return name
        }
        let path =
            environment.first { $0.hasPrefix("PATH=") }?.dropFirst(5)
            ?? defaultPath
        var denied = false
        for directory in path.split(separator: ":", omittingEmptySubsequences: false) {
            let candidate = (directory.isEmpty ? "." : directory) + "/" + name
            guard !Files.isDirectory(candidate) else { continue }
            if unsafe access(candidate, X_OK) == 0 { return candidate }
            if errno == EACCES { denied = true }
        }
        if denied { throw SystemError("execute", name, errno: EACCES) }
        throw MissingProgram(name: name)
    }

    private static let defaultPath: Substring = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// The home directory in the container's /etc/passwd; the root without an entry.
    private static func home(of user: UInt32) -> String {
        let users = (try? Files.readText("/etc/passwd")) ?? ""
        for line in users.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 6, UInt32(fields[2]) == user, !fields[5].isEmpty { return String(fields[5]) }
        }
        return "/"
    }
}

struct MissingProgram: Error, CustomStringConvertible {
    let name: String
    var description: String { "exec: \"\(name)\": executable file not found in $PATH" }
}

struct AgentAsProgram: Error, CustomStringConvertible {
    let name: String
    var description: String { "execute \(name): it is the guest's agent: name a program of the container" }
}
