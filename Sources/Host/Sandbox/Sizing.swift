import Configuration
import Hypervisor
import OCISpec

/// What a container asks of the machine that it runs in.
package struct Demand: Sendable, Equatable {
    /// Limit in bytes; 0 for none.
    package var memory: Int64 = 0
    /// Processors' time by the quota; 0 for none.
    package var processors: Double = 0
    /// How many processors the set names; 0 for no set.
    package var processorSet = 0
    /// What the quota is of, in microseconds; the kernel's own where none is given (cgroup-v2.rst, cpu.max).
    private var period: UInt64 = 100_000

    package init(memory: Int64 = 0, processors: Double = 0, processorSet: Int = 0) {
        (self.memory, self.processors, self.processorSet) = (memory, processors, processorSet)
    }

    package init(_ resources: OCISpec.Linux.Resources?) {
        memory = max(0, resources?.memory?.limit ?? 0)
        if let given = resources?.cpu?.period, given != 0 { period = given }
        processors = Self.processors(quota: resources?.cpu?.quota ?? 0, period: period)
        processorSet = Self.count(resources?.cpu?.cpus ?? "")
    }

    /// What Kubernetes' manager foresees for all containers of a pod (containerd's CRI, annotations of the sandbox).
    package init(annotations: [String: String]) {
        func number(_ name: String) -> Int64 { Int64(annotations["io.kubernetes.cri.sandbox-" + name] ?? "") ?? 0 }
        memory = max(0, number("memory"))
        let (quota, shares) = (number("cpu-quota"), number("cpu-shares"))
        processors = Self.processors(quota: quota, period: UInt64(max(0, number("cpu-period"))))
        // No limit, but a share: 1024 of them are a processor.
        if quota < 0, shares > 0 { processors = (Double(shares) / 1024).rounded(.up) }
    }

    /// What is known before the machine is booted: of its first container, and of the pod that this one opens.
    package init(beforeBoot spec: Spec) {
        let (own, pod) = (Demand(spec.linux?.resources), Demand(annotations: spec.annotations ?? [:]))
        self.init(
            memory: max(own.memory, pod.memory), processors: max(own.processors, pod.processors),
            processorSet: max(own.processorSet, pod.processorSet))
    }

    private static func processors(quota: Int64, period: UInt64) -> Double {
        quota > 0 ? Double(quota) / Double(period == 0 ? 100_000 : period) : 0
    }

    /// How many numbers a list such as `0-3,7` names (cpuset(7), "List format").
    static func count(_ list: String) -> Int {
        list.split(separator: ",").reduce(0) { sum, part in
            let ends = part.split(separator: "-").compactMap { Int($0.filter(\.isNumber)) }
            guard let first = ends.first, let last = ends.last, last >= first, last - first < 1 << 16 else {
                return sum
            }
            return sum + last - first + 1
        }
    }

    /// With what an update says instead; what it does not mention stays.
    package func updated(by resources: OCISpec.Linux.Resources) -> Demand {
        var result = self
        let news = Demand(resources)
        if let limit = resources.memory?.limit, limit != 0 { result.memory = max(0, limit) }
        if let given = resources.cpu?.period, given != 0 {
            result.period = given
            result.processors *= Double(period) / Double(given)
        }
        if let quota = resources.cpu?.quota, quota != 0 {
            result.processors = Self.processors(quota: quota, period: result.period)
        }
        if let set = resources.cpu?.cpus, !set.isEmpty { result.processorSet = news.processorSet }
        return result
    }
}

/// How large a machine has to be for its containers: Kata's rule. What the guest itself needs is always there
/// (`default_memory`, `default_vcpus`), and the containers' limits come on top.
package struct Sizing: Sendable, Equatable {
    package var memoryMiB: Int
    package var processors: Double
    package var most: MachineSize
    /// The machine keeps the size that it was booted with (`static_sandbox_resource_mgmt`).
    package var isStatic: Bool

    package init(_ configuration: Configuration, host: SandboxPlan.Host) {
        let vcpus = configuration[Keys.vcpus]
        processors = vcpus <= 0 ? Double(host.processors) : min(vcpus, Double(host.processors))
        memoryMiB = configuration[Keys.memory]
        let (vcpusLimit, limit) = (configuration[Keys.maxVCPUs], configuration[Keys.maxMemory])
        most = MachineSize(
            memoryMiB: max(memoryMiB, limit == 0 ? host.memoryMiB : min(limit, host.memoryMiB)),
            vcpus: vcpusLimit == 0 ? host.processors : min(vcpusLimit, host.processors))
        most.vcpus = max(most.vcpus, Int(processors.rounded(.up)))
        isStatic = configuration[Keys.staticSizing]
    }

    /// For these containers together. A limit that is above all that the host has bounds nothing, and asks for nothing.
    package func size(for demands: [Demand]) -> MachineSize {
        let hostBytes = Int64(most.memoryMiB) << 20
        let memory = demands.map(\.memory).filter { $0 < hostBytes }.reduce(0, +)
        var time = demands.map(\.processors).reduce(0, +)
        // Bound by their sets alone: as many as those name.
        if time == 0 { time = Double(demands.map(\.processorSet).reduce(0, +)) }
        let vcpus = min(processors + time, Double(most.vcpus)).rounded(.up)
        return MachineSize(
            memoryMiB: min(most.memoryMiB, memoryMiB + Int((memory + (1 << 20) - 1) >> 20)),
            vcpus: max(1, Int(vcpus)))
    }
}
