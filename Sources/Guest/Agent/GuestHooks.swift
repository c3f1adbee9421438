import EventLoop
import Glibc
import LinuxKernel
import OCISpec

/// Programs of the guest's image that run for every container (`guest_hook_path`), such as a driver's set-up.
struct GuestHooks: Sendable {
    let directory: String

    /// Runs the programs below `<directory>/<lifecycle>` in the order of their names. A failure is only logged: these
    /// hooks belong to the image, not to the container.
    /// - Parameter lifecycle: `prestart`, `poststart` or `poststop`.
    func run(_ lifecycle: String, _ state: State, reaper: Reaper) async {
        guard !directory.isEmpty else { return }
        let path = directory + "/" + lifecycle
        // SAFETY: access(2) only reads the path.
        for name in Files.list(path).sorted() where unsafe access(path + "/" + name, X_OK) == 0 {
            let hook = Hook(path: path + "/" + name, env: Command.inheritedEnvironment)
            do { try await Self.run(hook, lifecycle, state, reaper) } catch { log.error(error) }
        }
    }

    private static func run(_ hook: Hook, _ lifecycle: String, _ state: State, _ reaper: Reaper) async throws {
        try await blocking("hook") {
            try hook.program.run(
                lifecycle, input: state.json(), within: Deadline.guestHook.limit,
                collect: { .exited((try? reaper.wait($0.pid)) ?? 255) })
        }
    }
}
