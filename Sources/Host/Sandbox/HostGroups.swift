import Configuration
import ControlGroups
import EventLoop
import Glibc
import Linux
import OCISpec

extension SandboxPlan {
    /// Control groups of the host in which a sandbox's processes are.
    package struct Groups: Sendable, Equatable {
        /// The machine's, and of what stands for a container.
        package var machine: String
        /// The shim's and the share daemon's: with `sandbox_cgroup_only` the machine's too.
        package var helpers: String
        /// Of the first container: the host's processors and memory nodes, which bind the machine's threads.
        package var processors: String?
        package var nodes: String?
        package var shares: UInt64?

        package init(_ linux: OCISpec.Linux?, sandbox: String, configuration: Configuration) {
            machine = ControlGroup.path(linux?.cgroupsPath ?? "", sandbox: sandbox)
            helpers = configuration.flag(Keys.sandboxGroupOnly) ? machine : "/kata_overhead/kata_\(sandbox)"
            let limits = linux?.resources?.cpu
            (processors, nodes, shares) = (limits?.cpus, limits?.mems, limits?.shares)
        }
    }
}

/// The groups of a sandbox that runs.
struct HostGroups: Sendable {
    let machine: ControlGroup
    let helpers: ControlGroup

    /// Moves the shim into its group, and what runs already into its own.
    func enter(machine pid: Int32? = nil, helpers others: [Int32] = []) throws(SystemError) {
        try helpers.add(getpid())
        if let pid { try machine.add(pid) }
        for process in others { try helpers.add(process) }
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
            machine: ControlGroup(wanted.machine, hierarchies),
            helpers: ControlGroup(wanted.helpers, hierarchies))
        do {
            for group in made.machine == made.helpers ? [made.machine] : [made.machine, made.helpers] {
                try ledger.add(.controlGroup(path: group.path))
                try group.make()
            }
        } catch { return try doWithoutGroups(error) }
        groups = made
        try limitGroup(wanted.processors, wanted.nodes, wanted.shares)
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
        move = try Begun("groups", on: loop) { try groups.enter(machine: machine, helpers: helpers) }
    }

    /// Moves the shim out of its group again, after it has come to be there.
    func leaveGroup() async -> Begun<Void>? {
        guard let groups else { return nil }
        try? await move?.result()
        return try? Begun("groups", on: loop) { groups.helpers.leave(getpid()) }
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
