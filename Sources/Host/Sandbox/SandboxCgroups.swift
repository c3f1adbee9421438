import Cgroups
import EventLoop
import Glibc
import LinuxKernel
import Logging
import SandboxCgroups

/// The cgroups of a running sandbox on the host.
struct SandboxCgroups: Sendable {
    let machine: Cgroup
    let helpers: Cgroup

    /// Moves the shim and running processes into their cgroups.
    func enter(machine pid: Int32? = nil, helpers others: [Int32] = []) throws(SystemError) {
        try helpers.add(getpid())
        if let pid { try machine.add(pid) }
        for process in others { try helpers.add(process) }
    }

    /// The reason why a helper was killed; nil when the kernel has not killed one for lack of memory.
    var helpersLackOfMemory: String? { Self.lackOfMemory(of: helpers, isTheirOwn: machine != helpers) }

    /// - Parameter isTheirOwn: the machine has another cgroup.
    static func lackOfMemory(of helpers: Cgroup, isTheirOwn: Bool) -> String? {
        guard helpers.hasKilledForMemory else { return nil }
        return "the control group \(helpers.path) reached its limit of memory"
            + (isTheirOwn ? " (runtime.overhead_memory_limit)" : "")
    }

    /// Makes the kernel kill these processes before this one when their cgroup lacks memory
    /// (proc_pid_oom_score_adj(5)). The shim can then report the reason and clean up.
    static func preferAsVictims(_ processes: [Int32]) {
        guard
            let own = (try? Files.readText("/proc/self/oom_score_adj"))?.split(separator: "\n").first.flatMap({
                Int($0)
            })
        else { return }
        for process in processes { try? Files.write("/proc/\(process)/oom_score_adj", "\(min(1000, own + 100))") }
    }

    /// Whether the error means that the host allows us no cgroups.
    static func areRefused(by error: SystemError) -> Bool {
        [EROFS, EACCES, EPERM, ENOENT, ENOSPC].contains(error.code)
    }
}

extension Sandbox {
    /// Makes the sandbox's cgroups. Where the host allows none (in a container, say), the sandbox runs without.
    func makeCgroups() throws {
        let hierarchies = Hierarchies.current
        guard let wanted = plan.cgroups, !hierarchies.all.isEmpty else { return }
        let made = SandboxCgroups(
            machine: Cgroup(wanted.machine, hierarchies),
            helpers: Cgroup(wanted.helpers, hierarchies))
        do {
            for group in made.machine == made.helpers ? [made.machine] : [made.machine, made.helpers] {
                try ledger.add(.cgroup(path: group.path))
                try group.make()
            }
        } catch { return try runWithoutCgroups(error) }
        cgroups = made
        let lacking = limitHelpers(machineMiB: plan.machine.memoryMiB)
        if !lacking.isEmpty {
            log.warning(
                "the host lacks controllers of control groups: the shim and virtiofsd are not limited by them",
                metadata: ["controllers": "\(lacking.joined(separator: ", "))"])
        }
        try limitMachine(wanted.processors, wanted.nodes, wanted.cpuShares)
    }

    /// Raises the helpers' limits before the machine gets this much memory. They never shrink: a limit below the use
    /// would make the kernel kill.
    /// - Returns: the controllers that the host lacks.
    @discardableResult
    func limitHelpers(machineMiB: Int) -> [String] {
        guard let cgroups, let overhead = plan.cgroups?.overhead else { return [] }
        do { return try cgroups.helpers.set(overhead.limits(machineMiB: machineMiB)) } catch {
            log.warning("the shim and virtiofsd are not limited", metadata: ["error": "\(error)"])
            return []
        }
    }

    private func runWithoutCgroups(_ error: SystemError) throws(SystemError) {
        guard SandboxCgroups.areRefused(by: error) else { throw error }
        log.warning("the sandbox has no cgroup on the host", metadata: ["error": "\(error)"])
        cgroups = nil
    }

    /// Moves processes in the background: each move waits for an RCU grace period (cgroup_threadgroup_rwsem).
    /// - Parameters: as for `SandboxCgroups.enter`.
    func enterCgroups(machine: Int32? = nil, helpers: [Int32] = []) throws {
        guard let cgroups else { return }
        cgroupMove = try BackgroundCall("cgroups", on: loop) { try cgroups.enter(machine: machine, helpers: helpers) }
    }

    /// Moves the shim out of its cgroup in the background, after it has entered it.
    func leaveCgroup() async -> BackgroundCall<Void>? {
        guard let cgroups else { return nil }
        try? await cgroupMove?.result()
        return try? BackgroundCall("cgroups", on: loop) { cgroups.helpers.leave(getpid()) }
    }

    /// Waits for `enterCgroups`.
    func cgroupsEntered() async throws {
        guard let cgroupMove else { return }
        defer { self.cgroupMove = nil }
        do { try await cgroupMove.result() } catch {
            guard let error = error as? SystemError else { throw error }
            try runWithoutCgroups(error)
        }
    }

    /// Binds the machine's threads to processors of the host.
    func limitMachine(_ processors: String?, _ nodes: String?, _ shares: UInt64?) throws {
        do { try cgroups?.machine.set(processors: processors, nodes: nodes, shares: shares) } catch {
            let reason =
                error.code == ENOENT
                ? "the host gives its control groups no such controller" : "these are the host's numbers"
            throw SandboxError(.invalid, "linux.resources.cpu: \(error): \(reason)")
        }
    }
}
