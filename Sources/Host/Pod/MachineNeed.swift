import Hypervisor

/// The memory of a sandbox beyond its containers', in MiB: what a RuntimeClass has as `overhead.podFixed.memory` where
/// `sandbox_cgroup_only` is true. docs/resources.md has the measurements.
package struct MachineNeed: Sendable, Equatable {
    /// The guest's kernel and agent.
    package let guestMiB = 80
    /// The hypervisor, the file server, the shim, and what the host's kernel keeps for them.
    package let hostMiB: Int

    package init(_ hypervisor: any Hypervisor) { hostMiB = Self.helpersMiB + hypervisor.ownMemoryMiB }

    private static let helpersMiB = 32

    package var totalMiB: Int { guestMiB + hostMiB }
}
