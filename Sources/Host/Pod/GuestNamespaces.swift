import AgentAPI
import Glibc
import OCISpec

/// The namespaces that the guest makes for a container.
package struct GuestNamespaces: Equatable, Sendable {
    /// nil where the specification has no list.
    package private(set) var list: [OCISpec.Linux.Namespace]?
    /// Whether the container lives in the pid namespace of the sandbox's first container.
    package private(set) var sharesProcesses = false
    /// Whether its host name is the pod's, which the guest gets when the sandbox is made.
    package private(set) var hasPodsName = false

    /// The types of which a pod has one namespace in its guest: the guest's own.
    private static let sharedInPod = ["ipc", "uts"]

    /// Resolves a path to a namespace of the host. The sandbox's own namespaces are the guest's already. A namespace
    /// of another container in the sandbox becomes that container's in the guest. Any other is refused.
    ///
    /// A pod's first container makes no IPC and UTS namespaces either: its settings (kernel.shm*, kernel.msg*,
    /// fs.mqueue.*) and its host name are the pod's.
    /// - Parameters:
    ///   - joins: for each type of namespace to join, the container of the same sandbox that has it.
    ///   - source: the file to name in errors.
    /// - Throws: `SpecError` for a namespace of the host that a container outside a pod asks for.
    package init(_ spec: Spec, joins: [String: String], source: String) throws(SpecError) {
        guard let given = spec.linux?.namespaces else { return }
        var kept: [OCISpec.Linux.Namespace] = []
        let role = PodRole(spec)
        // The machine has the sandbox's network.
        for (index, namespace) in given.enumerated() where namespace.type != "network" {
            guard let path = namespace.path, !path.isEmpty else {
                if role != .sandbox || !Self.sharedInPod.contains(namespace.type) { kept.append(namespace) }
                continue
            }
            if role != .none, Self.sharedInPod.contains(namespace.type) { continue }
            if let container = joins[namespace.type] ?? Self.podsOwner(of: namespace.type, spec, role) {
                let path = ContainerNamespace.path(of: container, namespace.type)
                kept.append(OCISpec.Linux.Namespace(type: namespace.type, path: path))
                continue
            }
            guard role != .none else {
                throw SpecError(source, "linux.namespaces[\(index)].path", Self.refusal(of: path, namespace.type))
            }
            switch namespace.type {
            case "pid": sharesProcesses = true
            default: kept.append(OCISpec.Linux.Namespace(type: namespace.type))
            }
        }
        list = kept
        hasPodsName = role != .none && !kept.contains { $0.type == "uts" }
    }

    /// The container that has a pod's user namespace (hostUsers: false): the one that opened the pod. The namespace owns
    /// the pid namespace that a pod may share, so a container with another one could not mount /proc.
    private static func podsOwner(of type: String, _ spec: Spec, _ role: PodRole) -> String? {
        guard type == "user", role == .container, spec.linux?.uidMappings?.isEmpty == false else { return nil }
        return PodRole.sandboxID(in: spec.annotations ?? [:])
    }

    /// The reason why a container can't join a namespace of the host's kernel, with what to do.
    private static func refusal(of path: String, _ type: String) -> String {
        let file = KernelNames.file(ofNamespace: type)
        // This process is in the host's namespaces, except that of mounts.
        if NamespacePath.leads(path, to: 1, file) || NamespacePath.isSame(path, as: getpid(), file) {
            return "\(path) is the host's: a container in a machine of its own can't join it; leave the path out"
        }
        return
            "\(path) is not of this container's machine: leave the path out, or let both be in one machine, as a pod or by kata-runtime with the other's network"
    }
}
