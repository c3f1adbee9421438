import Glibc
import LinuxKernel
import OCISpec
import Sandbox

/// The sandbox that a new container belongs to: the one whose network namespace it joins, or else a new one.
struct SandboxMembership: Equatable {
    let sandbox: String
    /// Whether the sandbox exists.
    let exists: Bool
    /// The container whose namespace is joined, by type of namespace (not the network).
    let joins: [String: String]

    init(sandbox: String, exists: Bool, joins: [String: String]) {
        (self.sandbox, self.exists, self.joins) = (sandbox, exists, joins)
    }

    /// - Parameters:
    ///   - states: all containers of this root.
    ///   - source: path of config.json, for errors.
    /// - Throws: `SpecError` for namespaces of containers that are not in one sandbox.
    init(_ spec: Spec, id: String, states: [ContainerState], source: String) throws {
        var owners: [(index: Int, type: String, path: String, owner: ContainerState)] = []
        for (index, namespace) in (spec.linux?.namespaces ?? []).enumerated() {
            guard let path = namespace.path, let pid = NamespacePath.process(of: path),
                let owner = states.first(where: { $0.pid == pid && $0.process.map { $0.life != .ended } ?? false })
            else { continue }
            owners.append((index, namespace.type, path, owner))
        }
        guard let network = owners.first(where: { $0.type == "network" })?.owner else {
            if let first = owners.first {
                throw SpecError(
                    source, "linux.namespaces[\(first.index)].path",
                    "\(first.path) is that of container \(first.owner.id), which has a machine of its own: join its network too, and the new container gets into that machine"
                )
            }
            (sandbox, exists, joins) = (Self.unusedName(id, states), false, [:])
            return
        }
        for each in owners where each.owner.sandboxName != network.sandboxName {
            throw SpecError(
                source, "linux.namespaces[\(each.index)].path",
                "\(each.path) is that of container \(each.owner.id), which is not in the machine of \(network.id), whose network is joined"
            )
        }
        (sandbox, exists) = (network.sandboxName, true)
        let others = owners.filter { $0.type != "network" }.map { ($0.type, $0.owner.id) }
        joins = Dictionary(others) { first, _ in first }
    }

    /// The container's id, or id-2, id-3, … if a sandbox of that name still has other containers.
    private static func unusedName(_ id: String, _ states: [ContainerState]) -> String {
        let taken = Set(states.map(\.sandboxName))
        var (name, number) = (id, 1)
        while taken.contains(name) {
            number += 1
            name = "\(id)-\(number)"
        }
        return name
    }
}
