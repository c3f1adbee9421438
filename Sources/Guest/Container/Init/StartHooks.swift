import Glibc
import LinuxKernel
import OCISpec

/// The programs of a container that run before its main one, in its place (config.md, "StartContainer Hooks").
struct StartHooks {
    let hooks: [Hook]
    /// Status and pid are set when they run.
    let state: OCISpec.State

    /// - Parameter environment: for a hook that states none, as under runc.
    /// - Throws: `HookError` of the first one that fails; the others don't run.
    func run(environment: [String]) throws(HookError) {
        var state = state
        (state.status, state.pid) = (.created, getpid())
        for var hook in hooks {
            if (hook.env ?? []).isEmpty { hook.env = environment }
            try hook.program.run("startContainer", input: state.json(), within: Hook.defaultLimit)
        }
    }
}
