import Configuration
import Hypervisor

/// Kata's rule for the size of a machine: the guest's own need (`default_memory`, `default_vcpus`) plus the
/// containers' limits.
package struct Sizing: Sendable, Equatable {
    package var memoryMiB: Int
    package var processors: Double
    package var maximum: MachineSize
    /// Whether the machine keeps its size after the boot (`static_sandbox_resource_mgmt`).
    package var isStatic: Bool

    package init(_ configuration: Configuration, host: HostFacts) {
        let vcpus = configuration[Keys.vcpus]
        processors = vcpus <= 0 ? Double(host.processors) : min(vcpus, Double(host.processors))
        memoryMiB = configuration[Keys.memory]
        let (vcpusLimit, limit) = (configuration[Keys.maxVCPUs], configuration[Keys.maxMemory])
        maximum = MachineSize(
            memoryMiB: max(memoryMiB, limit == 0 ? host.memoryMiB : min(limit, host.memoryMiB)),
            vcpus: vcpusLimit == 0 ? host.processors : min(vcpusLimit, host.processors))
        maximum.vcpus = max(maximum.vcpus, Int(processors.rounded(.up)))
        isStatic = configuration[Keys.staticSizing]
    }

    /// The size for these containers together. A limit above the host's total counts as no limit, and adds nothing.
    package func size(for demands: [Demand]) -> MachineSize {
        let hostBytes = Int64(maximum.memoryMiB) << 20
        let memory = demands.map(\.memory).filter { $0 < hostBytes }.reduce(0, +)
        var time = demands.map(\.processors).reduce(0, +)
        // Without any quota, counts the processors of the CPU sets.
        if time == 0 { time = Double(demands.map(\.processorSet).reduce(0, +)) }
        let vcpus = min(processors + time, Double(maximum.vcpus)).rounded(.up)
        return MachineSize(
            memoryMiB: min(maximum.memoryMiB, memoryMiB + Int((memory + (1 << 20) - 1) >> 20)),
            vcpus: max(1, Int(vcpus)))
    }
}
