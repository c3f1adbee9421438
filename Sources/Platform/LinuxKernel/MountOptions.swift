import Glibc

/// Options of a mount by their names in fstab(5) and config.md, as mount(2) and mount_setattr(2) want them.
package struct MountOptions: Equatable, Sendable {
    package private(set) var flags: UInt = 0
    /// MS_SHARED and its kin, each a mount call of its own.
    package private(set) var propagation: [UInt] = []
    /// MOUNT_ATTR_* bits for the whole tree (rro and its kin): set, and cleared.
    package private(set) var recursiveAttributes: UInt64 = 0
    package private(set) var recursiveCleared: UInt64 = 0
    /// What the kernel has no flag for: the file system's own options.
    package private(set) var rest: [String] = []

    /// The file system's own options as one text; nil when there are none.
    package var data: String? { rest.isEmpty ? nil : rest.joined(separator: ",") }

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
    /// MOUNT_ATTR_* of mount_setattr(2). The times are one field of three bits: a new value needs the old one cleared.
    private static let recursive: [String: (set: UInt64, clear: UInt64)] = [
        "rro": (1, 0), "rnosuid": (2, 0), "rnodev": (4, 0), "rnoexec": (8, 0), "rnodiratime": (0x80, 0),
        "rrw": (0, 1), "rsuid": (0, 2), "rdev": (0, 4), "rexec": (0, 8), "rdiratime": (0, 0x80),
        "rrelatime": (0, times), "rnoatime": (0x10, times), "rstrictatime": (0x20, times), "ratime": (0, times),
        "rnorelatime": (0, times), "rnostrictatime": (0, times), "rnosymfollow": (0x20_0000, 0),
        "rsymfollow": (0, 0x20_0000),
    ]
    private static let times: UInt64 = 0x70

    /// Every option that has a meaning of its own here.
    package static var names: [String] {
        [set.keys.map { $0 }, clear.keys.map { $0 }, spread.keys.map { $0 }, recursive.keys.map { $0 }].flatMap { $0 }
    }

    /// The bits of a kind of propagation, such as `rslave`.
    package static func propagation(_ name: String) -> UInt? { spread[name] }

    /// A later option wins over an earlier one.
    package init(_ options: [String]) {
        for option in options {
            if let bits = Self.set[option] {
                flags |= bits
            } else if let bits = Self.clear[option] {
                flags &= ~bits
            } else if let bits = Self.spread[option] {
                propagation.append(bits)
            } else if let bits = Self.recursive[option] {
                recursiveAttributes = recursiveAttributes & ~bits.clear | bits.set
                recursiveCleared = recursiveCleared & ~bits.set | bits.clear
            } else {
                rest.append(option)
            }
        }
    }
}
