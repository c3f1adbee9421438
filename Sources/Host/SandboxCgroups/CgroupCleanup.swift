import Cgroups
import Cleanup

/// A sandbox's cgroup, by its path below each hierarchy.
package struct CgroupCleanup: Undoable {
    package static let kind = "controlGroup"
    let path: String

    package func undo() {
        let name = path.split(separator: "/").last ?? ""
        // Whatever a ledger's file says, only cgroups with Kata's prefix are removed.
        guard path.hasPrefix("/"), name.hasPrefix(Cgroup.sandboxPrefix), Ledger.isPlain(path) else { return }
        Cgroup(path).remove()
    }
}

extension Ledger.Entry {
    /// A sandbox's cgroup, by its path below each hierarchy.
    package static func cgroup(path: String) -> Self { Self(CgroupCleanup(path: path)) }
}
