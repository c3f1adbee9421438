import OCISpec
import Pod

extension Spec {
    /// Refuses what a pod's specification asks of the host's kernel and a machine can't give. `NetworkSettings` refuses
    /// the host's network, `GuestSpec` devices of the host.
    /// - Parameter source: the file to name in errors.
    func refuseHostsKernel(source: String) throws(SpecError) {
        let role = PodRole(self)
        guard role != .none else { return }
        // The sandbox's container alone has a list without the namespace: other containers name a path in it.
        if role == .sandbox, let namespaces = linux?.namespaces, !namespaces.contains(where: { $0.type == "ipc" }) {
            throw SpecError(
                source, "linux.namespaces",
                "hostIPC is not possible: a machine has its own shared memory and semaphores; leave hostIPC out")
        }
        for (index, mount) in (mounts ?? []).enumerated() where mount.isBind {
            guard let option = mount.options?.first(where: { ["rshared", "shared"].contains($0) }) else { continue }
            throw SpecError(
                source, "mounts[\(index)].options",
                "\"\(option)\" (mountPropagation: Bidirectional) of \(mount.destination) is not possible: what a container mounts is in its machine, not on the host; use HostToContainer or None"
            )
        }
    }
}
