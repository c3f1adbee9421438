import Glibc
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

    package var isBind: Bool { flags & UInt(MS_BIND) != 0 }

    private static let set: [String: UInt] = [
        "ro": UInt(MS_RDONLY), "nosuid": UInt(MS_NOSUID), "nodev": UInt(MS_NODEV), "noexec": UInt(MS_NOEXEC),
        "sync": UInt(MS_SYNCHRONOUS), "dirsync": UInt(MS_DIRSYNC), "mand": UInt(MS_MANDLOCK),
        "noatime": UInt(MS_NOATIME),
        "nodiratime": UInt(MS_NODIRATIME), "relatime": UInt(MS_RELATIME), "strictatime": UInt(MS_STRICTATIME),
        "iversion": UInt(MS_I_VERSION), "silent": UInt(MS_SILENT), "lazytime": 1 << 25,
        "bind": UInt(MS_BIND), "rbind": UInt(MS_BIND) | UInt(MS_REC),
    ]
    private static let clear: [String: UInt] = [
        "rw": UInt(MS_RDONLY), "suid": UInt(MS_NOSUID), "dev": UInt(MS_NODEV), "exec": UInt(MS_NOEXEC),
        "async": UInt(MS_SYNCHRONOUS), "nomand": UInt(MS_MANDLOCK), "atime": UInt(MS_NOATIME),
        "diratime": UInt(MS_NODIRATIME),
        "norelatime": UInt(MS_RELATIME), "nostrictatime": UInt(MS_STRICTATIME), "noiversion": UInt(MS_I_VERSION),
        "loud": UInt(MS_SILENT), "defaults": 0, "nolazytime": 1 << 25,
    ]
    private static let spread: [String: UInt] = [
        "shared": UInt(MS_SHARED), "rshared": UInt(MS_SHARED) | UInt(MS_REC), "slave": UInt(MS_SLAVE),
        "rslave": UInt(MS_SLAVE) | UInt(MS_REC), "private": UInt(MS_PRIVATE),
        "rprivate": UInt(MS_PRIVATE) | UInt(MS_REC),
        "unbindable": UInt(MS_UNBINDABLE), "runbindable": UInt(MS_UNBINDABLE) | UInt(MS_REC),
    ]
    /// MOUNT_ATTR_* of mount_setattr(2).
    private static let recursive: [String: UInt64] = ["rro": 1, "rnosuid": 2, "rnodev": 4, "rnoexec": 8]

    static func propagation(_ name: String) -> UInt? { spread[name] }

    init(_ mount: OCISpec.Mount, field: String) throws(PlanError) {
        guard mount.destination.hasPrefix("/") else {
            throw PlanError(field + ".destination", "\"\(mount.destination)\" is not an absolute path")
        }
        destination = mount.destination
        source = mount.source ?? mount.type ?? "none"
        type = mount.type ?? ""
        flags = 0
        propagation = []
        recursiveAttributes = 0
        var data: [String] = []
        for option in mount.options ?? [] {
            if let bits = Self.set[option] {
                flags |= bits
            } else if let bits = Self.clear[option] {
                flags &= ~bits
            } else if let bits = Self.spread[option] {
                propagation.append(bits)
            } else if let bits = Self.recursive[option] {
                recursiveAttributes |= bits
            } else if option == "idmap" || option == "ridmap" || option == "tmpcopyup" {
                throw PlanError(field + ".options", "\"\(option)\" is not supported yet")
            } else {
                data.append(option)
            }
        }
        if type == "bind" { flags |= UInt(MS_BIND) }
        // The guest has one hierarchy of control groups, the second version.
        if type == "cgroup" { type = "cgroup2" }
        if type == "cgroup2" { data = [] }
        if flags & UInt(MS_BIND) != 0 { type = "" }
        self.data = data.joined(separator: ",")
    }
}
