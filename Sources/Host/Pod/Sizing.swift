import Configuration
import Hypervisor

/// Kata's rule for the size of a machine: what the guest itself needs (`default_memory`, `default_vcpus`), and the containers' limits on
/// top.
package struct Sizing: Sendable, Equatable {
    package var memoryMiB: Int
    package var processors: Double
    package var maximum: MachineSize
    /// The machine keeps the size that it was booted with (`static_sandbox_resource_mgmt`).
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

    /// The size for these containers together. A limit above all that the host has is no limit, and asks for nothing.
    package func size(for demands: [Demand]) -> MachineSize {
        let hostBytes = Int64(maximum.memoryMiB) << 20
        let memory = demands.map(\.memory).filter { $0 < hostBytes }.reduce(0, +)
        var time = demands.map(\.processors).reduce(0, +)
        // Bound by their sets alone.
        if time == 0 { time = Double(demands.map(\.processorSet).reduce(0, +)) }
        let vcpus = min(processors + time, Double(maximum.vcpus)).rounded(.up)
        return MachineSize(
            memoryMiB: min(maximum.memoryMiB, memoryMiB + Int((memory + (1 << 20) - 1) >> 20)),
            vcpus: max(1, Int(vcpus)))
    }
}
