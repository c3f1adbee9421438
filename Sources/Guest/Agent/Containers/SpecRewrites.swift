import AgentAPI
import Container
import EventLoop
import LinuxKernel
import OCISpec
import TTRPC

extension Service {
    /// The specification of a request, with the guest's own names in the place of those that only the host could give.
    ///
    /// The host has already translated paths (GuestSpec). The guest then rewrites, in this order:
    /// 1. the pid namespace, when the sandbox shares one: it replaces whatever the specification says;
    /// 2. namespaces of other containers, which the host names by container id: they become paths below /proc;
    /// 3. disks, which the host names by their place on a bus: they become the guest's device numbers. Last, as it may
    ///    wait for a disk to appear, and an error of the other steps needs no disk.
    func guestSpecification(of request: Grpc_CreateContainerRequest) async throws -> Spec {
        var specification = try request.specification()
        if request.sandboxPidns { specification.sharePIDNamespace(of: try guest.firstOfSharedProcesses()) }
        try specification.resolveNamespaces(in: guest.containers)
        for device in request.devices {
            let disk = try await blocking("disk") { [kernel = guest.kernel] in try kernel.findDisk(device) }
            specification.replace(device: device.containerPath, by: disk)
        }
        return specification
    }
}

extension Guest {
    /// The first process of the pid namespace that containers share: the sandbox's own, or that of its first container.
    /// - Throws: `failedPrecondition` when that container doesn't run. `SystemError` when the sandbox's own can't be
    ///   started.
    func firstOfSharedProcesses() throws -> Int32 {
        if let own = try state.withLock({ try ownPodInit(&$0) }) { return own.pid }
        guard let first = containers.first, first.initial.status == nil else {
            throw RPCError(.failedPrecondition, "sandbox_pidns: the sandbox's first container does not run")
        }
        return first.initial.pid
    }

    /// Starts it for the first container that shares its processes.
    private func ownPodInit(_ state: inout State) throws -> PodInit? {
        guard state.hasSharedProcesses else { return nil }
        let own = try state.podInit ?? kernel.makePodInit()
        state.podInit = own
        return own
    }
}

extension Spec {
    /// Joins the pid namespace of a process.
    mutating func sharePIDNamespace(of process: Int32) {
        var namespaces = linux?.namespaces ?? []
        namespaces.removeAll { $0.type == "pid" }
        namespaces.append(Linux.Namespace(type: "pid", path: Self.path(ofNamespace: "pid", of: process)))
        linux?.namespaces = namespaces
    }

    /// Replaces `ContainerNamespace` paths by those of the containers' first processes.
    /// - Throws: `failedPrecondition` when such a container doesn't run.
    mutating func resolveNamespaces(in containers: ContainerTable) throws(RPCError) {
        for (index, namespace) in (linux?.namespaces ?? []).enumerated() {
            guard let other = namespace.path.flatMap(ContainerNamespace.container) else { continue }
            guard let container = try? containers.find(other), container.initial.status == nil else {
                throw RPCError(
                    .failedPrecondition,
                    "linux.namespaces[\(index)].path: container \(other), whose \(namespace.type) namespace it is, does not run"
                )
            }
            linux?.namespaces?[index].path = Self.path(ofNamespace: namespace.type, of: container.initial.pid)
        }
    }

    private static func path(ofNamespace type: String, of process: Int32) -> String {
        "/proc/\(process)/ns/\(KernelNames.file(ofNamespace: type))"
    }
}
