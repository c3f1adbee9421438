import Glibc
import Linux
import OCISpec

/// One mount of a container, as mount(2) and mount_setattr(2) want it.
package struct MountPlan: Codable, Equatable, Sendable {
    package var destination: String
    package var source: String
    package var type: String
    package var flags: UInt
    package var data: String
    /// MS_SHARED and its kin, each a mount call of its own.
    package var propagation: [UInt]
    /// MOUNT_ATTR_* bits for the whole tree (rro and its kin).
    package var recursiveAttributes: UInt64
    package var recursiveCleared: UInt64
    /// A tmpfs starts with what it covers.
    package var copiesUp: Bool

    package var isBind: Bool { flags & UInt(MS_BIND) != 0 }

    init(_ mount: OCISpec.Mount, field: String) throws(PlanError) {
        guard mount.destination.hasPrefix("/") else {
            throw PlanError(field + ".destination", "\"\(mount.destination)\" is not an absolute path")
        }
        destination = mount.destination
        let options = MountOptions(mount.options ?? [])
        if let unknown = options.rest.first(where: { ["idmap", "ridmap"].contains($0) }) {
            throw PlanError(field + ".options", "\"\(unknown)\": id-mapped mounts are not supported")
        }
        copiesUp = options.rest.contains("tmpcopyup")
        guard !copiesUp || mount.type == "tmpfs" else {
            throw PlanError(field + ".options", "\"tmpcopyup\" goes with type tmpfs alone")
        }
        source = mount.source ?? mount.type ?? "none"
        type = mount.type ?? ""
        flags = options.flags
        propagation = options.propagation
        recursiveAttributes = options.recursiveAttributes
        recursiveCleared = options.recursiveCleared
        data = options.rest.filter { $0 != "tmpcopyup" }.joined(separator: ",")
        if type == "bind" { flags |= UInt(MS_BIND) }
        // The guest has one hierarchy of control groups, the second version.
        if type == "cgroup" { type = "cgroup2" }
        if type == "cgroup2" { data = "" }
        if isBind { type = "" }
    }
}
