import AgentAPI
import Pod

/// The limits of a pod as a whole: its cgroup on the host has them, above those of its containers.
extension Sandbox {
    /// The present limits of the pod's containers together. Kubernetes changes those on the host before it changes a
    /// container's.
    var podLimits: PodLimits {
        var limits = followedLimits
        if let overhead = binding.podOverhead, let limit = binding.podGroup?.ownMemoryLimit {
            limits.memory = max(0, Int64(clamping: limit) - overhead)
        }
        return limits
    }

    /// The limits that the guest sets for the pod's containers together; nil where there are none.
    ///
    /// The announced memory is no limit where one container has none: then the pod's cgroup has none either.
    var guestPodLimits: Grpc_PodLimits? {
        guard let group = binding.podGroup else { return nil }
        let memory = group.ownMemoryLimit == nil ? nil : podLimits.memory
        let tasks = group.ownTaskLimit
        guard memory != nil || tasks != nil else { return nil }
        return Grpc_PodLimits.with {
            $0.memory = UInt64(max(0, memory ?? 0))
            $0.pids = tasks ?? 0
        }
    }
}
