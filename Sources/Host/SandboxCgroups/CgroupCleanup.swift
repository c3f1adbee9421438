import Cgroups
import Cleanup

/// A sandbox's cgroup, by its path below each hierarchy.
package struct CgroupCleanup: Undoable {
    package static let kind = "controlGroup"
    package let path: String

    package func undo() {
        if Self.isOurs(path) { Self.remove(path, .current) }
    }

    /// Removes a sandbox's cgroup with the one of its processors, which is below.
    static func remove(_ path: String, _ hierarchies: Hierarchies) {
        for group in [path + "/" + Cgroup.processors, path] { Cgroup(group, hierarchies).remove() }
    }

    /// Whatever a ledger's file says, only cgroups with Kata's names are removed.
    static func isOurs(_ path: String) -> Bool {
        let names = path.split(separator: "/")
        guard path.hasPrefix("/"), path != Cgroup.overhead, Ledger.isPlain(path), let name = names.last else {
            return false
        }
        return name.hasPrefix(Cgroup.sandboxPrefix) || (names.count == 2 && path.hasPrefix(Cgroup.overhead + "/"))
    }
}

extension Ledger.Entry {
    /// A sandbox's cgroup, by its path below each hierarchy.
    package static func cgroup(path: String) -> Self { Self(CgroupCleanup(path: path)) }
}
