import Glibc

/// The options of a mount, named as in fstab(5) and config.md, as flags of mount(2) and mount_setattr(2).
package struct MountOptions: Equatable, Sendable {
    package private(set) var flags: UInt = 0
    /// MS_SHARED, MS_PRIVATE and the like; each needs a call of mount(2).
    package private(set) var propagation: [UInt] = []
    /// MOUNT_ATTR_* bits to set on the whole tree, for `rro` and the like.
    package private(set) var recursiveAttributes: UInt64 = 0
    /// MOUNT_ATTR_* bits to clear on the whole tree.
    package private(set) var recursiveCleared: UInt64 = 0
    /// Options of the file system, for which the kernel has no flag.
    package private(set) var rest: [String] = []

    /// `rest`, joined by commas; nil when it is empty.
    package var data: String? { rest.isEmpty ? nil : rest.joined(separator: ",") }

    private static let set: [String: UInt] = [
        "ro": UInt(MS_RDONLY), "nosuid": UInt(MS_NOSUID), "nodev": UInt(MS_NODEV), "noexec": UInt(MS_NOEXEC),
        "sync": UInt(MS_SYNCHRONOUS), "dirsync": UInt(MS_DIRSYNC), "mand": UInt(MS_MANDLOCK),
        "noatime": UInt(MS_NOATIME),
        "nodiratime": UInt(MS_NODIRATIME), "relatime": UInt(MS_RELATIME), "strictatime": UInt(MS_STRICTATIME),
        "iversion": UInt(MS_I_VERSION), "silent": UInt(MS_SILENT), "lazytime": lazyTime,
        "bind": UInt(MS_BIND), "rbind": UInt(MS_BIND) | UInt(MS_REC),
    ]
    private static let clear: [String: UInt] = [
        "rw": UInt(MS_RDONLY), "suid": UInt(MS_NOSUID), "dev": UInt(MS_NODEV), "exec": UInt(MS_NOEXEC),
        "async": UInt(MS_SYNCHRONOUS), "nomand": UInt(MS_MANDLOCK), "atime": UInt(MS_NOATIME),
        "diratime": UInt(MS_NODIRATIME),
        "norelatime": UInt(MS_RELATIME), "nostrictatime": UInt(MS_STRICTATIME), "noiversion": UInt(MS_I_VERSION),
        "loud": UInt(MS_SILENT), "defaults": 0, "nolazytime": lazyTime,
    ]
    private static let spread: [String: UInt] = [
        "shared": UInt(MS_SHARED), "rshared": UInt(MS_SHARED) | UInt(MS_REC), "slave": UInt(MS_SLAVE),
        "rslave": UInt(MS_SLAVE) | UInt(MS_REC), "private": UInt(MS_PRIVATE),
        "rprivate": UInt(MS_PRIVATE) | UInt(MS_REC),
        "unbindable": UInt(MS_UNBINDABLE), "runbindable": UInt(MS_UNBINDABLE) | UInt(MS_REC),
    ]
    /// Options for whole trees, as bits of mount_setattr(2). The access times are one field: a new value needs the old
    /// one cleared.
    private static let recursive: [String: (set: UInt64, clear: UInt64)] = [
        "rro": (MountAttribute.readOnly, 0), "rrw": (0, MountAttribute.readOnly),
        "rnosuid": (MountAttribute.noSetuid, 0), "rsuid": (0, MountAttribute.noSetuid),
        "rnodev": (MountAttribute.noDevices, 0), "rdev": (0, MountAttribute.noDevices),
        "rnoexec": (MountAttribute.noExecution, 0), "rexec": (0, MountAttribute.noExecution),
        "rnodiratime": (MountAttribute.noDirectoryTimes, 0), "rdiratime": (0, MountAttribute.noDirectoryTimes),
        "rrelatime": (0, MountAttribute.accessTimes), "rnorelatime": (0, MountAttribute.accessTimes),
        "rnoatime": (MountAttribute.noAccessTime, MountAttribute.accessTimes),
        "ratime": (0, MountAttribute.accessTimes),
        "rstrictatime": (MountAttribute.strictAccessTime, MountAttribute.accessTimes),
        "rnostrictatime": (0, MountAttribute.accessTimes),
        "rnosymfollow": (MountAttribute.noSymbolicLinks, 0), "rsymfollow": (0, MountAttribute.noSymbolicLinks),
    ]
    /// MS_LAZYTIME (linux/mount.h), which Glibc's module doesn't have.
    private static let lazyTime: UInt = 1 << 25

    /// All options that become flags.
    package static var names: [String] {
        [set.keys.map { $0 }, clear.keys.map { $0 }, spread.keys.map { $0 }, recursive.keys.map { $0 }].flatMap { $0 }
    }

    /// The flags of a kind of propagation, such as `rslave`.
    package static func propagation(_ name: String) -> UInt? { spread[name] }

    /// Parses options; a later one overrides an earlier one.
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
