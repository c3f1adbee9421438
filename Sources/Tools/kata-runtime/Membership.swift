import Glibc
import LinuxKernel
import OCISpec
import Pod

/// Which sandbox a new container belongs to: one of its own, or, when its network is that of another container, that one's.
struct Membership: Equatable {
    let sandbox: String
    /// The sandbox is there already.
    let isThere: Bool
    /// By kind of namespace, the container whose it is; the network is the sandbox's.
    let joins: [String: String]

    /// - Parameter states: of this runtime's containers.
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
            (sandbox, isThere, joins) = (Self.free(id, states), false, [:])
            return
        }
        for each in owners where each.owner.sandboxName != network.sandboxName {
            throw SpecError(
                source, "linux.namespaces[\(each.index)].path",
                "\(each.path) is that of container \(each.owner.id), which is not in the machine of \(network.id), whose network is joined"
            )
        }
        (sandbox, isThere) = (network.sandboxName, true)
        let others = owners.filter { $0.type != "network" }.map { ($0.type, $0.owner.id) }
        joins = Dictionary(others) { first, _ in first }
    }

    /// The container's own name, unless others live on in a sandbox that it was once the first of.
    private static func free(_ id: String, _ states: [ContainerState]) -> String {
        let taken = Set(states.map(\.sandboxName))
        var (name, number) = (id, 1)
        while taken.contains(name) {
            number += 1
            name = "\(id)-\(number)"
        }
        return name
    }
}
