import CLinux
import Cleanup
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

    /// - Parameter pid: the container's pid in the manager's view.
    init(_ spec: Spec, container: String, bundle: String, pid: Int32, paths: SandboxPaths) {
        hooks = spec.hooks ?? Hooks()
        state = OCISpec.State(spec, id: container, bundle: bundle, pid: pid)
        record = paths.dueHooks + "/" + container
    }

    /// Runs the hooks before the container is created in the guest. A failure ends the creation; the poststop hooks
    /// are due from here on.
    /// - Parameter network: path of the sandbox's network namespace.
    func beforeCreation(network: String?) async throws {
        try DueHooks(state, hooks.poststop).save(record)
        try await run("prestart", hooks.prestart, .creating)
        try await run("createRuntime", hooks.createRuntime, .creating)
        // The container's own namespaces are in the guest. Hooks get its files and network, which are on the host
        // too. Other changes that hooks make to namespaces must not reach the host's.
        let apart = UInt64(clx_new_uts.rawValue | clx_new_ipc.rawValue)
        try await run("createContainer", hooks.createContainer, .creating) {
            $0.networkNamespace = network
            $0.newNamespaces = apart
        }
    }

    /// The maximum time of a start with the container's own hooks. The agent gives up a little earlier, with the
    /// reason.
    var startLimit: Duration { Deadline.start.limit + .seconds((hooks.startContainer ?? []).limitSeconds) }

    /// Runs the hooks after the program's start. A failure ends the container.
    func afterStart() async throws { try await run("poststart", hooks.poststart, .running) }

    /// Runs the hooks that are due after the container's deletion.
    func afterDeletion(_ log: Logger) async {
        guard let due = DueHooks.claim(record) else { return }
        try? await blocking("hooks") {
            due.run {
                log.warning("a poststop hook failed", metadata: ["container": "\(due.state.id)", "error": "\($0)"])
            }
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
        try await blocking("hooks") {
            for hook in hooks {
                try hook.program.run(stage, input: told.json(), within: Hook.defaultLimit, place: place)
            }
        }
    }
}

/// The poststop hooks of a container, on disk from its creation until they have run. The process that ends the
/// container takes them from there once: its shim, or the cleanup after a dead one.
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
        guard !hooks.isEmpty else { return }
        try Files.makeDirectory(Files.parent(of: record))
        try Files.replace(record, json())
    }

    /// Takes a record; nil when another process has taken it.
    static func claim(_ record: String) -> DueHooks? {
        // SAFETY: unlink(2) only reads the path.
        guard let bytes = try? Files.read(record), unsafe unlink(record) == 0 else { return nil }
        return try? JSONDecoder().decode(DueHooks.self, from: Data(bytes))
    }

    /// Takes all records of a sandbox.
    /// - Parameter machine: the sandbox's directory.
    package static func claimAll(in machine: String) -> [DueHooks] {
        let records = SandboxPaths.dueHooks(in: machine)
        return Files.list(records).compactMap { claim(records + "/" + $0) }
    }

    /// A failure is only logged: the other hooks run (runtime.md, "Lifecycle").
    package func run(_ warn: (HookError) -> Void) {
        for hook in hooks {
            do { try hook.program.run("poststop", input: state.json(), within: Hook.defaultLimit) } catch {
                warn(error)
            }
        }
    }
}
