import Cgroups
import Configuration
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import SandboxCgroups

extension SandboxPlan {
    /// Control groups of the host in which a sandbox's processes are.
    package struct Groups: Sendable, Equatable {
        /// The machine's, and of what stands for a container.
        package var machine: String
        /// The shim's and the share daemon's: with `sandbox_cgroup_only` the machine's too.
        package var helpers: String
        /// Limits of the helpers' group; nil where it is the machine's.
        package var overhead: Overhead?
        /// Of the first container: the host's processors and memory nodes, which bind the machine's threads.
        package var processors: String?
        package var nodes: String?
        package var shares: UInt64?

        package init(_ linux: OCISpec.Linux?, sandbox: String, configuration: Configuration) {
            machine = Cgroup.path(linux?.cgroupsPath ?? "", sandbox: sandbox)
            let together = configuration.flag(Keys.sandboxGroupOnly)
            helpers = together ? machine : Self.ownHelpers(of: sandbox)
            overhead = together ? nil : Overhead(configuration)
            let limits = linux?.resources?.cpu
            (processors, nodes, shares) = (limits?.cpus, limits?.mems, limits?.shares)
        }

        /// The helpers' group where it isn't the machine's.
        static func ownHelpers(of sandbox: String) -> String { "/kata_overhead/kata_\(sandbox)" }

        /// Why the shim of a sandbox may have been killed; nil when the kernel has not killed in its group for want of memory.
        package static func helpersLackOfMemory(of sandbox: String) -> String? {
            HostGroups.lackOfMemory(of: Cgroup(ownHelpers(of: sandbox)), isTheirOwn: true)
        }
    }

    /// How much the shim and the share daemon may use, beside the guest's memory.
    ///
    /// A page of the guest's memory is charged to the group of the process that touches it first. For the contents of shared files that
    /// is the share daemon, for received bytes of a stream the shim: up to all of the guest's memory may be charged to their group.
    package struct Overhead: Sendable, Equatable {
        /// 0: no limit.
        package var memoryMiB: Int
        /// Processes and threads; 0: no limit.
        package var tasks: Int

        init(_ configuration: Configuration) {
            memoryMiB = configuration.number(Keys.overheadMemory)
            tasks = configuration.number(Keys.overheadTasks)
        }

        /// - Parameter machineMiB: the guest's memory.
        func limits(machineMiB: Int) -> Cgroup.Limits {
            Cgroup.Limits(
                memory: memoryMiB == 0 ? nil : UInt64(machineMiB + memoryMiB) << 20,
                tasks: tasks == 0 ? nil : UInt64(tasks))
        }
    }
}

/// The groups of a sandbox that runs.
struct HostGroups: Sendable {
    let machine: Cgroup
    let helpers: Cgroup

    /// Moves the shim into its group, and what runs already into its own.
    func enter(machine pid: Int32? = nil, helpers others: [Int32] = []) throws(SystemError) {
        try helpers.add(getpid())
        if let pid { try machine.add(pid) }
        for process in others { try helpers.add(process) }
    }

    /// Why a helper was killed; nil when the kernel has not killed one for want of memory.
    var helpersLackOfMemory: String? { Self.lackOfMemory(of: helpers, isTheirOwn: machine != helpers) }

    /// - Parameter isTheirOwn: no machine is in the group.
    static func lackOfMemory(of helpers: Cgroup, isTheirOwn: Bool) -> String? {
        guard helpers.hasKilledForMemory else { return nil }
        return "the control group \(helpers.path) reached its limit of memory"
            + (isTheirOwn ? " (runtime.overhead_memory_limit)" : "")
    }

    /// Lets the kernel kill these before this process when their group lacks memory (proc_pid_oom_score_adj(5)): the shim can tell why the
    /// sandbox ended then, and clean up.
    static func preferAsVictims(_ processes: [Int32]) {
        guard
            let own = (try? Files.readText("/proc/self/oom_score_adj"))?.split(separator: "\n").first.flatMap({
                Int($0)
            })
        else { return }
        for process in processes { try? Files.write("/proc/\(process)/oom_score_adj", "\(min(1000, own + 100))") }
    }

    /// Whether a host refuses groups as such.
    static func areRefused(by error: SystemError) -> Bool {
        [EROFS, EACCES, EPERM, ENOENT, ENOSPC].contains(error.code)
    }
}

extension Sandbox {
    /// A host that lets us have none (a container's, say) does without.
    func makeGroups() throws {
        let hierarchies = Hierarchies.current
        guard let wanted = plan.groups, !hierarchies.all.isEmpty else { return }
        let made = HostGroups(
            machine: Cgroup(wanted.machine, hierarchies),
            helpers: Cgroup(wanted.helpers, hierarchies))
        do {
            for group in made.machine == made.helpers ? [made.machine] : [made.machine, made.helpers] {
                try ledger.add(.cgroup(path: group.path))
                try group.make()
            }
        } catch { return try doWithoutGroups(error) }
        groups = made
        let lacking = limitHelpers(machineMiB: plan.machine.memoryMiB)
        if !lacking.isEmpty {
            log.warning(
                "the host lacks controllers of control groups: the shim and virtiofsd are not limited by them",
                metadata: ["controllers": "\(lacking.joined(separator: ", "))"])
        }
        try limitGroup(wanted.processors, wanted.nodes, wanted.shares)
    }

    /// Before the machine has this much memory. The limit only grows: lowering it below what is in use would make the kernel kill.
    /// - Returns: the controllers that the host lacks.
    @discardableResult
    func limitHelpers(machineMiB: Int) -> [String] {
        guard let groups, let overhead = plan.groups?.overhead else { return [] }
        do { return try groups.helpers.set(overhead.limits(machineMiB: machineMiB)) } catch {
            log.warning("the shim and virtiofsd are not limited: \(error)")
            return []
        }
    }

    private func doWithoutGroups(_ error: SystemError) throws(SystemError) {
        guard HostGroups.areRefused(by: error) else { throw error }
        log.warning("the sandbox has no control group of its own on the host: \(error)")
        groups = nil
    }

    /// The kernel makes who moves processes wait for all processors once (cgroup_threadgroup_rwsem): there is something else to do.
    /// - Parameters: as for `HostGroups.enter`.
    func enterGroups(machine: Int32? = nil, helpers: [Int32] = []) throws {
        guard let groups else { return }
        move = try BackgroundCall("groups", on: loop) { try groups.enter(machine: machine, helpers: helpers) }
    }

    /// Moves the shim out of its group again, after it has come to be there.
    func leaveGroup() async -> BackgroundCall<Void>? {
        guard let groups else { return nil }
        try? await move?.result()
        return try? BackgroundCall("groups", on: loop) { groups.helpers.leave(getpid()) }
    }

    /// Waits for `enterGroups`.
    func groupsEntered() async throws {
        guard let move else { return }
        defer { self.move = nil }
        do { try await move.result() } catch {
            guard let error = error as? SystemError else { throw error }
            try doWithoutGroups(error)
        }
    }

    /// Binds the machine's threads to processors of the host.
    func limitGroup(_ processors: String?, _ nodes: String?, _ shares: UInt64?) throws {
        do { try groups?.machine.set(processors: processors, nodes: nodes, shares: shares) } catch {
            let reason =
                error.code == ENOENT
                ? "the host gives its control groups no such controller" : "these are the host's numbers"
            throw SandboxError(.invalid, "linux.resources.cpu: \(error): \(reason)")
        }
    }
}
