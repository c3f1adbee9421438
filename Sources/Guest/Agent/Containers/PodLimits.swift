import AgentAPI
import Container

extension Grpc_PodLimits {
    /// The files of the pod's cgroup, and their values.
    var settings: [ContainerPlan.Setting] {
        [("memory.max", memory), ("pids.max", pids)].filter { $0.1 > 0 }.map { .init($0.0, "\($0.1)") }
    }
}
