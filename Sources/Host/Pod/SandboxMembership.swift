import Glibc
import LinuxKernel
import OCISpec

/// Which sandbox a container belongs to, and which namespaces it shares with other containers there.
///
/// Three callers know different things. A shim that starts has the annotations alone; the command line knows which processes its
/// containers have; a shim with a sandbox decides whether it takes one more container. All three rules are here.
package struct SandboxMembership: Equatable, Sendable {
    /// The sandbox's name: the id of its first container, or a free name like it.
    package let sandbox: String
    /// The sandbox exists already.
    package let exists: Bool
    /// By type of namespace, the container whose namespace it is. The network is the sandbox's.
    package let joins: [String: String]

    package init(sandbox: String, exists: Bool = false, joins: [String: String] = [:]) {
        (self.sandbox, self.exists, self.joins) = (sandbox, exists, joins)
    }

    // MARK: By annotations

    /// The sandbox that the annotations of a pod's container name; the container's own where they name none.
    /// - Throws: for a name that no sandbox can have.
    package init(annotationsOf spec: Spec, id: String) throws(SpecError) {
        guard PodRole(spec) == .container, let sandbox = PodRole.sandboxID(in: spec.annotations ?? [:]) else {
            self.init(sandbox: id)
            return
        }
        do { try Identifier.check(sandbox, "sandbox id") } catch {
            throw SpecError("config.json", "annotations (io.kubernetes.cri.sandbox-id)", error.description)
        }
        self.init(sandbox: sandbox, exists: sandbox != id)
    }

    /// Why a sandbox refuses a container that names it by an annotation; nil where it takes it. Only a pod's sandbox does: any user whose
    /// manager takes annotations could name a sandbox of somebody else.
    /// - Parameters:
    ///   - isPod: a pod's sandbox container has made the sandbox.
    ///   - hasProcess: the command line has found the sandbox by the container's namespaces.
    package static func refusal(of spec: Spec, by sandbox: String, isPod: Bool, hasProcess: Bool) -> String? {
        guard !hasProcess, PodRole(spec) == .container, !isPod else { return nil }
        return "sandbox \(sandbox), which the container's annotations name, is not a pod's: leave them out"
    }

    // MARK: By namespaces

    /// A container of this runtime's command line.
    package struct Known: Equatable, Sendable {
        package let id: String
        package let sandbox: String
        /// Its attach process, whose namespaces managers name; nil when it has ended.
        package let process: Int32?

        package init(id: String, sandbox: String, process: Int32?) {
            (self.id, self.sandbox, self.process) = (id, sandbox, process)
        }
    }

    /// A sandbox of its own, or, when the network is that of another container, that one's.
    /// - Parameters:
    ///   - containers: those of this runtime, but for the new one.
    ///   - source: the file that errors name.
    package init(_ spec: Spec, id: String, containers: [Known], source: String) throws(SpecError) {
        var owners: [(index: Int, type: String, path: String, owner: Known)] = []
        for (index, namespace) in (spec.linux?.namespaces ?? []).enumerated() {
            guard let path = namespace.path, let pid = NamespacePath.process(of: path),
                let owner = containers.first(where: { $0.process == pid })
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
            self.init(sandbox: Self.freeName(like: id, containers))
            return
        }
        for each in owners where each.owner.sandbox != network.sandbox {
            throw SpecError(
                source, "linux.namespaces[\(each.index)].path",
                "\(each.path) is that of container \(each.owner.id), which is not in the machine of \(network.id), whose network is joined"
            )
        }
        let others = owners.filter { $0.type != "network" }.map { ($0.type, $0.owner.id) }
        self.init(
            sandbox: network.sandbox, exists: true, joins: Dictionary(others) { first, _ in first })
    }

    /// The container's own name, unless others live on in a sandbox whose first container had it.
    private static func freeName(like id: String, _ containers: [Known]) -> String {
        let taken = Set(containers.map(\.sandbox))
        var (name, number) = (id, 1)
        while taken.contains(name) {
            number += 1
            name = "\(id)-\(number)"
        }
        return name
    }
}

package enum NamespacePath {
    /// The process whose namespace a path names (proc(5)); nil for any other path.
    package static func process(of path: String) -> Int32? {
        let parts = path.split(separator: "/")
        guard parts.count == 4, parts[0] == "proc", parts[2] == "ns" else { return nil }
        return Int32(parts[1])
    }
}
