import LinuxKernel
import OCISpec

/// The processors and memory that a container requests from its machine.
package struct Demand: Sendable, Equatable {
    /// Limit in bytes; 0: none.
    package var memory: Int64 = 0
    /// Bytes of huge pages, which are no part of `memory`.
    package var hugePages: Int64 = 0
    /// Processor time by the quota, in processors; 0: no quota.
    package var processors: Double = 0
    /// The host's processors in its set; empty: no set.
    package var processorSet: Set<Int> = []
    /// The host's memory nodes in its set; empty: no set.
    package var nodeSet: Set<Int> = []
    /// The quota's period in microseconds.
    private var period = Self.defaultPeriod
    /// The kernel's default (cgroup-v2.rst, cpu.max).
    private static let defaultPeriod: UInt64 = 100_000

    package init(memory: Int64 = 0, processors: Double = 0, processorSet: Set<Int> = []) {
        (self.memory, self.processors, self.processorSet) = (memory, processors, processorSet)
    }

    package init(_ resources: OCISpec.Linux.Resources?) {
        memory = max(0, resources?.memory?.limit ?? 0)
        hugePages = Self.hugePages(resources?.hugepageLimits ?? [])
        if let given = resources?.cpu?.period, given != 0 { period = given }
        processors = Self.processors(quota: resources?.cpu?.quota ?? 0, period: period)
        processorSet = CPUList(resources?.cpu?.cpus ?? "")?.numbers ?? []
        nodeSet = CPUList(resources?.cpu?.mems ?? "")?.numbers ?? []
    }

    /// The sum that a pod's annotations announce for all its containers (containerd's CRI).
    package init(annotations: [String: String]) {
        func number(_ name: String) -> Int64 { Int64(annotations["io.kubernetes.cri.sandbox-" + name] ?? "") ?? 0 }
        self.init(
            podMemory: number("memory"), quota: number("cpu-quota"), period: number("cpu-period"),
            shares: number("cpu-shares"))
    }

    /// The sum that a manager announces for all containers of a pod.
    /// - Parameters:
    ///   - memory: limit in bytes; 0 or less: none.
    ///   - quota: in microseconds per period; less than 0: no limit.
    package init(podMemory memory: Int64, quota: Int64, period: Int64, shares: Int64) {
        self.memory = max(0, memory)
        processors = Self.processors(quota: quota, period: UInt64(max(0, period)))
        // No limit, but shares: derives processors from them.
        if quota < 0, shares > 0 { processors = (Double(shares) / Self.sharesPerProcessor).rounded(.up) }
    }

    /// Adds huge pages and sets of processors, which a manager announces in lists of their own.
    package mutating func add(sizesOf resources: OCISpec.Linux.Resources?) {
        let other = Demand(resources)
        (hugePages, processorSet, nodeSet) = (other.hugePages, other.processorSet, other.nodeSet)
    }

    /// The CPU shares that Kubernetes sets for one processor.
    private static let sharesPerProcessor = 1024.0

    /// The demand that is known before the boot: the first container's, and that of a pod which this one opens.
    package init(beforeBoot spec: Spec) {
        let (own, pod) = (Demand(spec.linux?.resources), Demand(annotations: spec.annotations ?? [:]))
        self.init(
            memory: max(own.memory, pod.memory), processors: max(own.processors, pod.processors),
            processorSet: own.processorSet)
    }

    /// The sum of limits of huge pages. A limit that no host has counts as none.
    private static func hugePages(_ limits: [OCISpec.Linux.Resources.HugepageLimit]) -> Int64 {
        limits.reduce(0) { $0 + ($1.limit < maxHugePages ? Int64($1.limit) : 0) }
    }

    private static let maxHugePages: UInt64 = 1 << 50

    private static func processors(quota: Int64, period: UInt64) -> Double {
        quota > 0 ? Double(quota) / Double(period == 0 ? defaultPeriod : period) : 0
    }

    /// The demand after an update; values that it does not set remain.
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
        if let set = resources.cpu?.mems, !set.isEmpty { result.nodeSet = news.nodeSet }
        return result
    }
}
