import Glibc
import LinuxKernel
import OCISpec

/// One mount of a container, as arguments of mount(2) and mount_setattr(2).
package struct MountPlan: Equatable, Sendable {
    package var destination = ""
    package var source = ""
    package var type = ""
    package var flags: UInt = 0
    package var data = ""
    /// MS_SHARED and its kin; each takes another call of mount(2).
    package var propagation: [UInt] = []
    /// MOUNT_ATTR_* bits for the whole tree (rro and its kin).
    package var recursiveAttributes: UInt64 = 0
    package var recursiveCleared: UInt64 = 0
    /// Whether a tmpfs starts with a copy of the directory it covers (`tmpcopyup`).
    package var copiesUp = false

    package var isBind: Bool { flags & UInt(MS_BIND) != 0 }

    init() {}

    init(_ mount: OCISpec.Mount, field: String) throws(PlanError) {
        guard mount.destination.hasPrefix("/") else {
            throw PlanError(field + ".destination", "\"\(mount.destination)\" is not an absolute path")
        }
        destination = mount.destination
        let options = MountOptions(mount.options ?? [])
        if let unknown = options.rest.first(where: { ["idmap", "ridmap"].contains($0) }) {
            throw PlanError(field + ".options", "\"\(unknown)\": the host maps the ids of mounts, not the guest")
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
        // The guest has cgroup v2 only.
        if type == "cgroup" { type = "cgroup2" }
        if type == "cgroup2" { data = "" }
        guard isBind else { return }
        type = ""
        guard source.hasPrefix("/") else {
            throw PlanError(field + ".source", "\"\(source)\" is not an absolute path of the guest")
        }
    }
}

extension MountPlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&destination)
        coder.code(&source)
        coder.code(&type)
        coder.code(&flags)
        coder.code(&data)
        coder.code(&propagation)
        coder.code(&recursiveAttributes)
        coder.code(&recursiveCleared)
        coder.code(&copiesUp)
    }
}
