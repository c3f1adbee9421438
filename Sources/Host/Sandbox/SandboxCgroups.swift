import Cgroups
import EventLoop
import Glibc
import LinuxKernel
import Logging
import Pod
import SandboxCgroups

/// The cgroups of a running sandbox on the host.
///
/// The processes are in `helpers`, where their memory is charged. Their processor time is the manager's from `bind` on:
/// its quota must not throttle the guest's boot.
struct SandboxCgroups: Sendable {
    /// The cgroup that the manager names.
    let machine: Cgroup
    let helpers: Cgroup

    /// Whether the manager's cgroup holds everything (`sandbox_cgroup_only`).
    var areOne: Bool { machine == helpers }

    /// Moves a process of the host into its cgroup. Version 2 has no way to leave the processor time out.
    func admit(_ process: Int32) throws(SystemError) { try helpers.add(process, without: areOne ? ["cpu"] : []) }

    /// Moves the shim and running processes into their cgroup.
    func enter(_ processes: [Int32]) throws(SystemError) {
        for process in [getpid()] + processes { try admit(process) }
    }

    /// Charges processor time to the manager's cgroup from now on: that of the machine's processors, or with
    /// `sandbox_cgroup_only` that of all processes. May be repeated, for new threads and new limits.
    /// - Parameters:
    ///   - threads: of the machine's processors.
    ///   - isPod: the cgroup above the manager's is the pod's.
    func bind(threads: [Int32], processes: [Int32], isPod: Bool) throws(SystemError) {
        if areOne {
            for process in [getpid()] + processes { try machine.add(process) }
        } else if machine.isUnified {
            // Threads can't leave the cgroup that their process's memory is charged to (cgroup-v2.rst, "Threads"): a
            // cgroup below gets the limits of the manager's.
            let group = try helpers.makeThreaded(Cgroup.processors)
            try group.copyProcessorLimits(of: machine)
            if let weight = (isPod ? machine.parent : machine).weight { try helpers.write("cpu.weight", weight) }
            try group.add(threads: threads)
        } else {
            try machine.add(threads: threads)
        }
    }

    /// The reason why a process of the sandbox was killed; nil when the kernel has not killed one for lack of memory.
    var lackOfMemory: String? { Self.lackOfMemory(of: helpers, isTheirOwn: !areOne) }

    /// - Parameter isTheirOwn: the cgroup is not the manager's.
    static func lackOfMemory(of helpers: Cgroup, isTheirOwn: Bool) -> String? {
        guard helpers.hasKilledForMemory else { return nil }
        let way =
            isTheirOwn
            ? "runtime.overhead_memory_limit"
            : "sandbox_cgroup_only: raise the pod's limit or overhead.podFixed.memory of its RuntimeClass"
        return "the cgroup \(helpers.path) reached its limit of memory (\(way))"
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
        guard let wanted = plan.cgroups, !wanted.hierarchies.all.isEmpty else { return }
        let hierarchies = wanted.hierarchies
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
        notePodOverhead()
        let lacking = limitHelpers(machineMiB: plan.machine.memoryMiB)
        if !lacking.isEmpty {
            log.warning(
                "the host lacks controllers of cgroups: the shim and virtiofsd are not limited by them",
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

    /// Says once, at the end, that the shim, virtiofsd or QEMU wanted more processes or threads than they may have.
    /// Each failed with its own error.
    func noteRefusedTasks() {
        guard let cgroups, cgroups.helpers.hasRefusedTasks else { return }
        log.warning(
            "the cgroup has refused processes or threads beyond its limit",
            metadata: [
                "cgroup": "\(cgroups.helpers.path)",
                "limit": "\(cgroups.areOne ? "the pod's limit of processes" : "runtime.overhead_pids_limit")",
            ])
    }

    private func runWithoutCgroups(_ error: SystemError) throws(SystemError) {
        guard SandboxCgroups.areRefused(by: error) else { throw error }
        log.warning("the sandbox has no cgroup on the host", metadata: ["error": "\(error)"])
        cgroups = nil
    }

    /// Moves processes in the background: each move waits for an RCU grace period (cgroup_threadgroup_rwsem).
    /// - Parameter processes: those that run already, beside this one.
    func enterCgroups(_ processes: [Int32] = []) throws {
        guard let cgroups else { return }
        cgroupMove = try BackgroundCall("cgroups", on: loop) { try cgroups.enter(processes) }
    }

    /// Lets the manager's limits of processor time hold, from the first container's start on.
    func bindProcessorTime() {
        guard cgroups != nil else { return }
        isBound = true
        _ = hardware.take(on: executor) { [weak self] in await self?.bindNow() }
    }

    /// Repeats the binding for new processors and new limits.
    func rebindProcessorTime() async {
        guard isBound else { return }
        await bindNow()
    }

    private func bindNow() async {
        guard let cgroups, let machine else { return }
        let (processes, isPod) = ([machine.vm.pid] + machine.fileServer.processes, plan.isPod)
        do {
            let threads = try await machine.vm.processorThreads()
            let call = try BackgroundCall("cgroups", on: loop) {
                try cgroups.bind(threads: threads, processes: processes, isPod: isPod)
            }
            try await call.result()
        } catch {
            log.warning(
                "the manager's limits of processor time don't bind the machine", metadata: ["error": "\(error)"])
        }
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

    /// Binds the machine to the processors and memory nodes of the host that its containers have together.
    func followProcessorSets() throws {
        let demands = containers.values.map(\.demand)
        func union(_ set: KeyPath<Demand, Set<Int>>) -> Set<Int> {
            demands.reduce(into: []) { $0.formUnion($1[keyPath: set]) }
        }
        let wanted = ProcessorSets(processors: union(\.processorSet), nodes: union(\.nodeSet))
        guard let cgroups, wanted != processorSets else { return }
        // A set that no container has any more.
        if wanted.processors.isEmpty, !processorSets.processors.isEmpty { try? cgroups.machine.inherit("cpuset.cpus") }
        if wanted.nodes.isEmpty, !processorSets.nodes.isEmpty { try? cgroups.machine.inherit("cpuset.mems") }
        try limitMachine(CPUList.text(wanted.processors), CPUList.text(wanted.nodes), nil)
        processorSets = wanted
    }

    /// Sets the manager's cgroup for the machine's processors.
    func limitMachine(_ processors: String?, _ nodes: String?, _ shares: UInt64?) throws {
        do { try cgroups?.machine.set(processors: processors, nodes: nodes, shares: shares) } catch {
            let reason =
                error.code == ENOENT
                ? "the host gives its cgroups no such controller" : "these are the host's numbers"
            throw SandboxError(.invalid, "linux.resources.cpu: \(error): \(reason)")
        }
    }
}

/// Sets of the host's numbers that a machine is bound to; an empty one binds it to nothing.
struct ProcessorSets: Equatable, Sendable {
    var processors: Set<Int> = []
    var nodes: Set<Int> = []
}
