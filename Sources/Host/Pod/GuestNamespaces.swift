import AgentAPI
import OCISpec

/// The namespaces of a container as the guest makes them.
package struct GuestNamespaces: Equatable, Sendable {
    /// nil where the specification has no list.
    package private(set) var list: [OCISpec.Linux.Namespace]?
    /// The container lives in the pid namespace of the sandbox's first container.
    package private(set) var sharesProcesses = false

    /// A path leads to a namespace of the host. In a pod it is the sandbox's, which the guest has anyway; of another container of the
    /// sandbox, it becomes that one's in the guest; any other is refused.
    /// - Parameters:
    ///   - joins: by type, the container of the same sandbox whose namespace it is.
    ///   - source: the file that errors name.
    package init(_ spec: Spec, joins: [String: String], source: String) throws(SpecError) {
        guard let given = spec.linux?.namespaces else { return }
        var kept: [OCISpec.Linux.Namespace] = []
        // The machine's network is the sandbox's.
        for (index, namespace) in given.enumerated() where namespace.type != "network" {
            guard let path = namespace.path, !path.isEmpty else {
                kept.append(namespace)
                continue
            }
            if let container = joins[namespace.type] {
                let path = ContainerNamespace.path(of: container, namespace.type)
                kept.append(OCISpec.Linux.Namespace(type: namespace.type, path: path))
                continue
            }
            guard PodRole(spec) != .none else {
                throw SpecError(
                    source, "linux.namespaces[\(index)].path",
                    "\(path) is the host's: a container in a machine of its own can't join it; leave the path out")
            }
            switch namespace.type {
            case "pid": sharesProcesses = true
            case "ipc", "uts": break
            default: kept.append(OCISpec.Linux.Namespace(type: namespace.type))
            }
        }
        list = kept
    }
}
