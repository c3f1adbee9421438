import AgentAPI
import Cgroups
import Pod

/// The limits of a pod as a whole: its cgroup on the host has them, above those of its containers.
extension Sandbox {
    /// Notes how much more memory the pod's cgroup has than the containers: the RuntimeClass's overhead.
    func notePodOverhead() {
        guard let limit = podGroup?.ownMemoryLimit, let announced = plan.pod.memory else { return }
        let overhead = Int64(clamping: limit) - announced
        podOverhead = overhead >= 0 ? overhead : nil
    }

    /// The present limits of the pod's containers together. Kubernetes changes those on the host before it changes a
    /// container's.
    var podLimits: PodLimits {
        var limits = followedLimits
        if let podOverhead, let limit = podGroup?.ownMemoryLimit {
            limits.memory = max(0, Int64(clamping: limit) - podOverhead)
        }
        return limits
    }

    /// The limits that the guest sets for the pod's containers together; nil where there are none.
    ///
    /// The announced memory is no limit where one container has none: then the pod's cgroup has none either.
    var guestPodLimits: Grpc_PodLimits? {
        guard let group = podGroup else { return nil }
        let memory = group.ownMemoryLimit == nil ? nil : podLimits.memory
        let tasks = group.ownTaskLimit
        guard memory != nil || tasks != nil else { return nil }
        return Grpc_PodLimits.with {
            $0.memory = UInt64(max(0, memory ?? 0))
            $0.pids = tasks ?? 0
        }
    }

    /// The pod's cgroup on the host; nil where there is no pod.
    private var podGroup: Cgroup? {
        guard plan.isPod, let parent = cgroups?.machine.parent, !parent.path.isEmpty else { return nil }
        return parent
    }
}
