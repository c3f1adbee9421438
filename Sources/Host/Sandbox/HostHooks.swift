import EventLoop
import Linux
import Logging
import OCISpec

/// A container's hooks of the host (runtime.md, "Lifecycle"), run away from the event loop.
struct HostHooks: Sendable {
    private let hooks: Hooks
    private let state: OCISpec.State

    /// - Parameter pid: what the manager knows the container by.
    init(_ spec: Spec, container: String, bundle: String, pid: Int32) {
        hooks = spec.hooks ?? Hooks()
        state = OCISpec.State(spec, id: container, bundle: bundle, pid: pid)
    }

    /// Before the container is created in the guest. One that fails ends the creation.
    func beforeCreation() async throws {
        try await run("prestart", hooks.prestart, .creating)
        try await run("createRuntime", hooks.createRuntime, .creating)
    }

    /// After its program runs. One that fails is only told of.
    func afterStart(_ log: Logger) async { await attempt("poststart", hooks.poststart, .running, log) }

    /// After the container is gone.
    func afterDeletion(_ log: Logger) async { await attempt("poststop", hooks.poststop, .stopped, log) }

    private func run(_ stage: String, _ hooks: [Hook]?, _ status: OCISpec.State.Status) async throws {
        guard let hooks, !hooks.isEmpty else { return }
        var state = state
        state.status = status
        if status == .stopped { state.pid = 0 }
        let told = state
        try await blocking("hooks") { for hook in hooks { try hook.run(stage, told) } }
    }

    private func attempt(_ stage: String, _ hooks: [Hook]?, _ status: OCISpec.State.Status, _ log: Logger) async {
        for hook in hooks ?? [] {
            do { try await run(stage, [hook], status) } catch {
                log.warning("\(error)", metadata: ["container": "\(state.id)"])
            }
        }
    }
}
