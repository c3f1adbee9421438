import Glibc
import LinuxKernel
import OCISpec

/// The sandbox of a container, and the namespaces it shares with other containers there.
///
/// Three callers have different facts. A starting shim has only the annotations. The command line knows the processes
/// of its containers. A shim with a sandbox decides whether to take one more container. All three rules are here.
package struct SandboxMembership: Equatable, Sendable {
    /// The sandbox's name: the id of its first container, or a free name derived from it.
    package let sandbox: String
    /// Whether the sandbox exists already.
    package let exists: Bool
    /// For each type of namespace to join, the container that has it. The network is the sandbox's.
    package let joins: [String: String]

    package init(sandbox: String, exists: Bool = false, joins: [String: String] = [:]) {
        (self.sandbox, self.exists, self.joins) = (sandbox, exists, joins)
    }

    // MARK: By annotations

    /// Reads the sandbox's name from the annotations of a pod's container; the container's own name where they have
    /// none.
    /// - Throws: `SpecError` for a name that is not a valid sandbox id.
    package init(annotationsOf spec: Spec, id: String) throws(SpecError) {
        guard PodRole(spec) == .container, let sandbox = PodRole.sandboxID(in: spec.annotations ?? [:]) else {
            self.init(sandbox: id)
            return
        }
        do { try Identifier.check(sandbox, "sandbox id") } catch {
            let key = PodRole.sandboxKey(in: spec.annotations ?? [:]) ?? ""
            throw SpecError("config.json", "annotations (\(key))", error.description)
        }
        self.init(sandbox: sandbox, exists: sandbox != id)
    }

    /// The reason why a sandbox refuses a container that names it by an annotation; nil where it takes it. Only a
    /// pod's sandbox takes such containers: where a manager passes annotations on, any user could name a foreign
    /// sandbox.
    /// - Parameters:
    ///   - isPod: whether a pod's sandbox container has made the sandbox.
    ///   - hasProcess: whether the command line has found the sandbox by the container's namespaces.
    package static func refusal(of spec: Spec, by sandbox: String, isPod: Bool, hasProcess: Bool) -> String? {
        guard !hasProcess, PodRole(spec) == .container, !isPod else { return nil }
        return "sandbox \(sandbox), which the container's annotations name, is not a pod's: leave them out"
    }

    // MARK: By namespaces

    /// The container of a pod whose pid namespace another one joins (`kubectl debug --target`). The pid namespace of
    /// the container that opens the pod is the pod's own, and every IPC, UTS and network namespace is.
    /// - Parameter containers: the sandbox's containers.
    package static func joins(of spec: Spec, containers: [Known]) -> [String: String] {
        guard PodRole(spec) == .container,
            let path = spec.linux?.namespaces?.first(where: { $0.type == "pid" })?.path,
            let owner = containers.first(where: { $0.process.map { NamespacePath.leads(path, to: $0, "pid") } == true }
            ),
            owner.id != owner.sandbox
        else { return [:] }
        return ["pid": owner.id]
    }

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

    /// Chooses a new sandbox, or, when the container joins another container's network, that container's sandbox.
    /// - Parameters:
    ///   - containers: the containers of this runtime, without the new one.
    ///   - source: the file to name in errors.
    /// - Throws: `SpecError` for a namespace of a container in another machine.
    package init(_ spec: Spec, id: String, containers: [Known], source: String) throws(SpecError) {
        var owners: [(index: Int, type: String, path: String, owner: Known)] = []
        for (index, namespace) in (spec.linux?.namespaces ?? []).enumerated() {
            guard let path = namespace.path, let owner = Self.owner(of: path, namespace.type, among: containers) else {
                continue
            }
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

    /// The container whose namespace a path names. A network is the same by whatever path a manager names it: CRI-O and
    /// Podman keep one below /run/netns. Other namespaces of an attach process may be the host's, so only the words
    /// tell.
    private static func owner(of path: String, _ type: String, among containers: [Known]) -> Known? {
        if let pid = NamespacePath.process(of: path), let named = containers.first(where: { $0.process == pid }) {
            return named
        }
        guard type == "network", !NamespacePath.isSame(path, as: getpid(), "net") else { return nil }
        return containers.first { $0.process.map { NamespacePath.isSame(path, as: $0, "net") } == true }
    }

    /// The container's own name, unless a sandbox whose first container had that name still runs.
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
    /// Whether a path leads to a process's namespace, by its words. Where a manager keeps the namespace under another
    /// path, its inode tells.
    package static func leads(_ path: String, to process: Int32, _ type: String) -> Bool {
        if let named = self.process(of: path) { return named == process }
        return isSame(path, as: process, type)
    }

    /// Whether a path leads to a process's namespace, by device and inode of its file in nsfs (namespaces(7)).
    /// - Parameter type: the file's name in `/proc/<pid>/ns`.
    package static func isSame(_ path: String, as process: Int32, _ type: String) -> Bool {
        var (given, own) = (stat(), stat())
        // SAFETY: the calls read the paths and write the structures.
        guard unsafe stat(path, &given) == 0, unsafe stat("/proc/\(process)/ns/\(type)", &own) == 0 else {
            return false
        }
        return given.st_ino == own.st_ino && given.st_dev == own.st_dev
    }

    /// The pid in a path to a process's namespace (proc(5)); nil for any other path.
    package static func process(of path: String) -> Int32? {
        let parts = path.split(separator: "/")
        guard parts.count == 4, parts[0] == "proc", parts[2] == "ns" else { return nil }
        return Int32(parts[1])
    }
}
