import Cgroups
import Pod

/// With `sandbox_cgroup_only` the machine must fit in the pod's limit of memory.
extension SandboxPlan {
    /// The most memory that a guest may have in a cgroup with this limit; nil: any.
    static func ceilingMiB(_ limit: Cgroup.Limit?, _ need: MachineNeed) -> Int? {
        limit.map { max(need.guestMiB, Int(clamping: $0.value >> 20) - need.hostMiB) }
    }

    /// Refuses containers that don't fit beside the machine in the limit of its cgroup.
    /// - Parameter containersMiB: the memory that they may use together.
    /// - Throws: `SandboxError` (`invalid`) with the missing MiB, when the limit is too low.
    package func checkFit(containersMiB: Int, in limit: Cgroup.Limit?) throws(SandboxError) {
        guard let limit else { return }
        let (given, wanted) = (Int(clamping: limit.value >> 20), containersMiB + need.totalMiB)
        guard given < wanted else { return }
        throw SandboxError(
            .invalid,
            "the limit of memory of cgroup \(limit.path), \(given) MiB, lacks \(wanted - given) MiB: "
                + "with sandbox_cgroup_only it holds \(containersMiB) MiB for containers, \(need.guestMiB) for the guest and "
                + "\(need.hostMiB) for its processes on the host; set overhead.podFixed.memory of the RuntimeClass to "
                + "\(need.totalMiB)Mi, or sandbox_cgroup_only = false")
    }
}
