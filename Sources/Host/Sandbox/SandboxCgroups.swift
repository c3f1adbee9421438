import Cgroups
import Glibc
import LinuxKernel
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
