import Cgroups
import Cleanup
import Glibc
import LinuxKernel
import SandboxCgroups

/// Cgroups with Kata's prefix that hold no process and belong to no living sandbox.
package enum CgroupLeaks {
    package static func find() -> [Leak] { find(in: .current, isUsed: isUsedBySandbox) }

    /// - Parameter isUsed: whether a sandbox has the cgroup with this path, or is about to make it.
    static func find(in hierarchies: Hierarchies, isUsed: (_ path: String) -> Bool) -> [Leak] {
        hierarchies.all.flatMap { hierarchy in
            named(below: hierarchy.path, depth: 0).compactMap { directory in
                let path = String(directory.dropFirst(hierarchy.path.count))
                guard isEmpty(directory), !isUsed(path) else { return nil }
                return Leak(directory, "a control group without processes and without a sandbox") { remove($0) }
            }
        }
    }

    /// A sandbox of ours writes its cgroups into its ledger first. Kata's own runtime has a directory for its sandbox.
    private static func isUsedBySandbox(_ path: String) -> Bool {
        let sandbox = (path.split(separator: "/").last ?? "").dropFirst(Cgroup.sandboxPrefix.count)
        return Files.exists("/run/vc/sbs/\(sandbox)") || Ledger.livingNames(path)
    }

    /// The parent of all sandboxes' groups for helpers, which stays.
    private static let parent = "kata_overhead"
    /// Managers nest their groups less deeply.
    private static let depthLimit = 12

    private static func named(below directory: String, depth: Int) -> [String] {
        guard depth < depthLimit else { return [] }
        return children(of: directory).flatMap { name in
            let path = directory + "/" + name
            return name.hasPrefix(Cgroup.sandboxPrefix) && name != parent
                ? [path] : named(below: path, depth: depth + 1)
        }
    }

    private static func children(of directory: String) -> [String] {
        Files.list(directory).filter { name in
            var facts = stat()
            // SAFETY: the call reads the path and writes the structure.
            return unsafe lstat(directory + "/" + name, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
        }
    }

    /// Whether neither the cgroup nor one below it has a thread. False where that can't be told.
    private static func isEmpty(_ directory: String) -> Bool {
        let (threads, events) = (directory + "/tasks", directory + "/cgroup.events")
        let own: Bool
        if let text = try? Files.readText(events) {
            own = text.split(separator: "\n").contains("populated 0")
        } else {
            own = (try? Files.readText(threads).isEmpty) ?? false
        }
        return own && children(of: directory).allSatisfy { isEmpty(directory + "/" + $0) }
    }

    private static func remove(_ directory: String) {
        for name in children(of: directory) { remove(directory + "/" + name) }
        // SAFETY: the call only reads the path.
        unsafe rmdir(directory)
    }
}
