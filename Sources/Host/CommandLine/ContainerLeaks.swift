import Cleanup
import Glibc
import LinuxKernel
import OCISpec

extension ContainerState {
    /// Finds state directories of containers that no command completes or removes any more. Their `create` was killed,
    /// or their shim has ended and their bundle is gone, as after a killed Podman. A stopped container that still has
    /// its bundle is none: `list` shows it.
    static func leaks(root: String) -> [Leak] {
        Files.list(root).compactMap { name in
            guard (try? Identifier.check(name, "container id")) != nil else { return nil }
            let directory = directory(root: root, id: name)
            guard let state = try? load(root: root, id: name) else { return incomplete(directory) }
            guard !state.isForeign, !state.hasShim else { return nil }
            if state.isAbandoned { return leak(directory, "its create has ended half-way") }
            guard state.creator == nil, !Files.exists(state.bundle + "/config.json") else { return nil }
            return leak(directory, "a container whose shim has ended and whose bundle is gone")
        }
    }

    /// A directory without a readable state, unless a `create` has just made it.
    private static func incomplete(_ directory: String) -> Leak? {
        var facts = stat()
        // SAFETY: the call reads the path and writes the structure.
        guard !Files.exists(directory + "/state.json"), unsafe stat(directory, &facts) == 0,
            facts.st_mode & S_IFMT == S_IFDIR, timeOfDay().tv_sec - facts.st_mtim.tv_sec > newSeconds
        else { return nil }
        return leak(directory, "a container without a state")
    }

    private static let newSeconds = 60

    private static func leak(_ directory: String, _ reason: String) -> Leak {
        Leak(directory, reason) { Files.removeTree(directory) }
    }

    /// Whether the sandbox's shim lives, or that can't be told.
    private var hasShim: Bool { Ledger.ownerLife(SandboxPaths(sandbox: sandboxName).machine) != .ended }
}
