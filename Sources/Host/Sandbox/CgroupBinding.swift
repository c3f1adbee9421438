import Cgroups
import Cleanup
import EventLoop
import Glibc
import LinuxKernel
import Logging
import Pod
import SandboxCgroups

import protocol NIOCore.EventLoop

/// A sandbox's relation to the host's cgroups: those that it has, and what they bind so far.
struct CgroupBinding: Sendable {
    private let plan: SandboxPlan
    private let log: Logger
    /// The sandbox's cgroups; nil where the host allows none.
    private(set) var cgroups: SandboxCgroups?
    /// The move of processes into the cgroups, until `moved`.
    private(set) var move: BackgroundCall<Void>?
    /// The part of the pod's limit of memory that is not its containers', in bytes: the RuntimeClass's overhead. nil
    /// when unknown.
    private(set) var podOverhead: Int64?
    /// Whether the manager's limits of processor time hold.
    private(set) var isBound = false
    private var processorSets = ProcessorSets()

    init(_ plan: SandboxPlan, log: Logger) { (self.plan, self.log) = (plan, log) }

    // MARK: Making

    /// Makes the sandbox's cgroups. Where the host allows none (in a container, say), the sandbox runs without.
    /// - Throws: `SystemError` for other failures. `SandboxError` (`invalid`) for processors, nodes or shares that the
    ///   host does not have.
    mutating func make(_ ledger: Ledger) throws {
        guard let wanted = plan.cgroups, !wanted.hierarchies.all.isEmpty else { return }
        let hierarchies = wanted.hierarchies
        let made = SandboxCgroups(
            machine: Cgroup(wanted.machine, hierarchies), helpers: Cgroup(wanted.helpers, hierarchies))
        do {
            for group in made.areOne ? [made.machine] : [made.machine, made.helpers] {
                try ledger.add(.cgroup(path: group.path))
                try group.make()
            }
        } catch { return try runWithout(error) }
        cgroups = made
        podOverhead = plan.standalone?.memoryOverhead ?? announcedOverhead
        let lacking = limitHelpers(machineMiB: plan.machine.memoryMiB)
        if !lacking.isEmpty {
            log.warning(
                "the host lacks controllers of cgroups: the shim and virtiofsd are not limited by them",
                metadata: ["controllers": "\(lacking.joined(separator: ", "))"])
        }
        try limitMachine(wanted.processors, wanted.nodes, wanted.cpuShares)
    }

    private mutating func runWithout(_ error: SystemError) throws(SystemError) {
        guard SandboxCgroups.areRefused(by: error) else { throw error }
        log.warning("the sandbox has no cgroup on the host", metadata: ["error": "\(error)"])
        cgroups = nil
    }

    // MARK: Moving processes

    /// Moves this process and others in the background: each move waits for an RCU grace period
    /// (cgroup_threadgroup_rwsem).
    mutating func enter(_ processes: [Int32], on loop: any EventLoop) throws {
        guard let cgroups else { return }
        move = try BackgroundCall("cgroups", on: loop) { try cgroups.enter(processes) }
    }

    /// Notes the end of `move`. The sandbox runs without cgroups where the host has refused it.
    /// - Throws: any other error of the move.
    mutating func moved(_ error: (any Error)?) throws {
        move = nil
        guard let error else { return }
        guard let error = error as? SystemError else { throw error }
        try runWithout(error)
    }

    // MARK: Limits

    /// The present limit of memory of the cgroup that holds all of the machine; nil without such a limit.
    var memoryLimit: Cgroup.Limit? {
        guard let cgroups, cgroups.areOne else { return nil }
        return cgroups.machine.memoryLimit
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

    /// Says once, at the end, that the shim, virtiofsd or the hypervisor wanted more processes or threads than they may
    /// have. Each failed with its own error.
    func noteRefusedTasks() {
        guard let cgroups, cgroups.helpers.hasRefusedTasks else { return }
        log.warning(
            "the cgroup has refused processes or threads beyond its limit",
            metadata: [
                "cgroup": "\(cgroups.helpers.path)",
                "limit": "\(cgroups.areOne ? "the pod's limit of processes" : "runtime.overhead_pids_limit")",
            ])
    }

    /// Sets the manager's cgroup for the machine's processors.
    /// - Throws: `SandboxError` (`invalid`) for what the host does not have.
    func limitMachine(_ processors: String?, _ nodes: String?, _ shares: UInt64?) throws(SandboxError) {
        do { try cgroups?.machine.set(processors: processors, nodes: nodes, shares: shares) } catch {
            let reason =
                error.code == ENOENT
                ? "the host gives its cgroups no such controller" : "these are the host's numbers"
            throw SandboxError(.invalid, "linux.resources.cpu: \(error): \(reason)")
        }
    }

    /// Binds the machine to processors and memory nodes of the host.
    /// - Throws: as `limitMachine`.
    mutating func follow(_ wanted: ProcessorSets) throws(SandboxError) {
        guard let cgroups, wanted != processorSets else { return }
        // A set that no container has any more.
        if wanted.processors.isEmpty, !processorSets.processors.isEmpty { try? cgroups.machine.inherit("cpuset.cpus") }
        if wanted.nodes.isEmpty, !processorSets.nodes.isEmpty { try? cgroups.machine.inherit("cpuset.mems") }
        try limitMachine(CPUList.text(wanted.processors), CPUList.text(wanted.nodes), nil)
        processorSets = wanted
    }

    /// Notes that the manager's limits of processor time hold from now on.
    /// - Returns: whether there is a cgroup that has them.
    mutating func bind() -> Bool {
        isBound = cgroups != nil
        return isBound
    }

    // MARK: The pod

    /// The pod's cgroup on the host; nil where there is no pod.
    var podGroup: Cgroup? {
        guard plan.isPod, let parent = cgroups?.machine.parent, !parent.path.isEmpty else { return nil }
        return parent
    }

    private var announcedOverhead: Int64? {
        guard let limit = podGroup?.ownMemoryLimit, let announced = plan.pod.memory else { return nil }
        let overhead = Int64(clamping: limit) - announced
        return overhead >= 0 ? overhead : nil
    }
}

/// Sets of the host's numbers that a machine is bound to; an empty one binds it to nothing.
struct ProcessorSets: Equatable, Sendable {
    var processors: Set<Int> = []
    var nodes: Set<Int> = []

    init() {}

    /// The sets of several containers together.
    init(of demands: [Demand]) {
        processors = demands.reduce(into: []) { $0.formUnion($1.processorSet) }
        nodes = demands.reduce(into: []) { $0.formUnion($1.nodeSet) }
    }
}
