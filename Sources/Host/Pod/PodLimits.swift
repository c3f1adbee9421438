import OCISpec

/// The limits of a pod as a whole, which bound the sum of its containers' limits.
package struct PodLimits: Sendable, Equatable {
    /// Bytes; nil: no limit.
    package var memory: Int64?
    /// Processor time in processors; nil: no limit.
    package var processors: Double?

    package init(memory: Int64? = nil, processors: Double? = nil) {
        (self.memory, self.processors) = (memory, processors)
    }

    /// The limits that containerd's CRI announces for a pod: its own, or else the sum of its containers'.
    package init(annotations: [String: String]) {
        let quota = Int64(annotations["io.kubernetes.cri.sandbox-cpu-quota"] ?? "") ?? 0
        self.init(Demand(annotations: annotations), hasQuota: quota > 0)
    }

    /// - Parameters:
    ///   - announced: the pod's limits.
    ///   - hasQuota: whether its processors are a limit.
    package init(_ announced: Demand, hasQuota: Bool) {
        self.init(
            memory: announced.memory > 0 ? announced.memory : nil, processors: hasQuota ? announced.processors : nil)
    }

    /// Follows the change of a container's limits: the pod's limits are changed with them.
    package mutating func follow(_ old: Demand, to new: Demand) {
        if let memory {
            let (sum, isTooMuch) = memory.addingReportingOverflow(new.memory - old.memory)
            self.memory = isTooMuch ? nil : max(0, sum)
        }
        if let processors { self.processors = max(0, processors + new.processors - old.processors) }
    }

    /// The lower of the pod's limit and a sum.
    func bound(memory sum: Int64) -> Int64 { memory.map { min($0, sum) } ?? sum }
    func bound(processors sum: Double) -> Double { processors.map { min($0, sum) } ?? sum }
}
