import CLinux
import EventLoop
import FoundationEssentials
import Glibc
import LinuxKernel
import Logging
import OCISpec

/// A container's hooks of the host (runtime.md, "Lifecycle"), run away from the event loop.
struct HostHooks: Sendable {
    private let hooks: Hooks
    private let state: OCISpec.State
    private let record: String

    /// - Parameter pid: what the manager knows the container by.
    init(_ spec: Spec, container: String, bundle: String, pid: Int32, paths: SandboxPaths) {
        hooks = spec.hooks ?? Hooks()
        state = OCISpec.State(spec, id: container, bundle: bundle, pid: pid)
        record = paths.dueHooks + "/" + container
    }

    /// Before the container is created in the guest. One that fails ends the creation; from here on the last hooks are due.
    /// - Parameter network: path of the sandbox's network namespace.
    func beforeCreation(network: String?) async throws {
        try DueHooks(state, hooks.poststop).save(record)
        try await run("prestart", hooks.prestart, .creating)
        try await run("createRuntime", hooks.createRuntime, .creating)
        // The container's own namespaces are in the guest. Its files and its network are here too, and these a hook gets; what else it
        // changes must not be the host's.
        let apart = UInt64(clx_new_uts.rawValue | clx_new_ipc.rawValue)
        try await run("createContainer", hooks.createContainer, .creating) {
            $0.networkNamespace = network
            $0.newNamespaces = apart
        }
    }

    /// What a start may take with the container's own hooks; the agent gives up a little earlier, and says why.
    var startLimit: Duration { Deadline.start.limit + .seconds((hooks.startContainer ?? []).limitSeconds) }

    /// After its program runs. One that fails ends the container.
    func afterStart() async throws { try await run("poststart", hooks.poststart, .running) }

    /// After the container is gone.
    func afterDeletion(_ log: Logger) async {
        guard let due = DueHooks.claim(record) else { return }
        try? await blocking("hooks") {
            due.run { log.warning("\($0)", metadata: ["container": "\(due.state.id)"]) }
        }
    }

    private func run(
        _ stage: String, _ hooks: [Hook]?, _ status: OCISpec.State.Status,
        _ place: @escaping @Sendable (inout Command) -> Void = { _ in }
    ) async throws {
        guard let hooks, !hooks.isEmpty else { return }
        var state = state
        state.status = status
        let told = state
        try await blocking("hooks") { for hook in hooks { try hook.run(stage, told, place: place) } }
    }
}

/// The poststop hooks of a container that has begun to be created, on disk until they have run: whoever ends the container, its shim
/// or what cleans up after a dead one, finds them there, once.
package struct DueHooks: Codable, Sendable {
    package let state: OCISpec.State
    private let hooks: [Hook]

    init(_ state: OCISpec.State, _ hooks: [Hook]?) {
        var state = state
        (state.status, state.pid) = (.stopped, 0)
        self.state = state
        self.hooks = hooks ?? []
    }

    func save(_ record: String) throws {
        guard !hooks.isEmpty, let slash = record.lastIndex(of: "/") else { return }
        try Files.makeDirectory(String(record[..<slash]))
        try Files.replace(record, json())
    }

    /// Takes a record away; nil when another has taken it.
    static func claim(_ record: String) -> DueHooks? {
        guard let bytes = try? Files.read(record), unlink(record) == 0 else { return nil }
        return try? JSONDecoder().decode(DueHooks.self, from: Data(bytes))
    }

    /// Takes all records of a sandbox away.
    /// - Parameter machine: the sandbox's directory.
    package static func claimAll(in machine: String) -> [DueHooks] {
        let records = SandboxPaths.dueHooks(in: machine)
        return Files.list(records).compactMap { claim(records + "/" + $0) }
    }

    /// One that fails is only told of: the others run (runtime.md, "Lifecycle").
    package func run(_ warn: (HookError) -> Void) {
        for hook in hooks {
            do { try hook.run("poststop", state) } catch { warn(error) }
        }
    }
}
