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
        let available = min(host.processors, Self.maxVCPUs)
        processors = vcpus <= 0 ? Double(available) : min(vcpus, Double(available))
        memoryMiB = configuration[Keys.memory]
        let (vcpusLimit, limit) = (configuration[Keys.maxVCPUs], configuration[Keys.maxMemory])
        maximum = MachineSize(
            memoryMiB: max(memoryMiB, limit == 0 ? host.memoryMiB : min(limit, host.memoryMiB)),
            vcpus: vcpusLimit == 0 ? available : min(vcpusLimit, available))
        maximum.vcpus = max(maximum.vcpus, Int(processors.rounded(.up)))
        isStatic = configuration[Keys.staticSizing]
    }

    /// The most virtual CPUs of a machine, as in Kata: more need interrupts that machines here don't have.
    private static let maxVCPUs = 240

    /// The size for these containers together. A limit above the host's total counts as no limit, and adds nothing.
    /// - Parameters:
    ///   - pod: the limits of the containers' sum.
    ///   - ceilingMiB: the most memory that the guest may have on its host; nil: `maximum`.
    package func size(
        for demands: [Demand], in pod: PodLimits = PodLimits(), ceilingMiB: Int? = nil
    ) -> MachineSize {
        let memory = containersMiB(demands, in: pod)
        var time = pod.bound(processors: demands.map(\.processors).reduce(0, +))
        // Without any quota, counts the processors of the CPU sets.
        if time == 0 { time = Double(demands.reduce(into: Set()) { $0.formUnion($1.processorSet) }.count) }
        let vcpus = min(processors + time, Double(maximum.vcpus)).rounded(.up)
        return MachineSize(
            memoryMiB: min(maximum.memoryMiB, memoryMiB + memory, ceilingMiB ?? .max), vcpus: max(1, Int(vcpus)))
    }

    /// The memory that these containers may use together.
    package func containersMiB(_ demands: [Demand], in pod: PodLimits = PodLimits()) -> Int {
        let hostBytes = Int64(maximum.memoryMiB) << 20
        let memory = pod.bound(memory: demands.map(\.memory).filter { $0 < hostBytes }.reduce(0, +))
        let hugePages = demands.map(\.hugePages).filter { $0 < hostBytes }.reduce(0, +)
        return Int((memory + hugePages + (1 << 20) - 1) >> 20)
    }
}
