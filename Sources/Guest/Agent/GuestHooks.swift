import EventLoop
import Glibc
import LinuxKernel
import OCISpec

/// Programs of the guest's image that run for every container (`guest_hook_path`): what an image's maker adds, as drivers need it.
struct GuestHooks: Sendable {
    let directory: String

    /// Runs the programs below `<directory>/<stage>` in the order of their names. One that fails is only told of: they belong to the
    /// image, not to the container.
    func run(_ stage: String, _ state: State, reaper: Reaper) async {
        guard !directory.isEmpty else { return }
        let path = directory + "/" + stage
        for name in Files.list(path).sorted() where access(path + "/" + name, X_OK) == 0 {
            do {
                try await Self.run(
                    Hook(path: path + "/" + name, env: Command.inheritedEnvironment), stage, state, reaper)
            } catch {
                writeError("kata-agent: \(error)")
            }
        }
    }

    private static func run(_ hook: Hook, _ stage: String, _ state: State, _ reaper: Reaper) async throws {
        try await blocking("hook") {
            try hook.run(
                stage, state, standard: Deadline.guestHook.limit,
                collect: { .exited((try? reaper.wait($0.pid)) ?? 255) })
        }
    }
}
