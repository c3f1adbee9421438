/// Attributes of mount_setattr(2) (linux/mount.h): MOUNT_ATTR_*.
package enum MountAttribute {
    package static let readOnly: UInt64 = 0x1
    static let noSetuid: UInt64 = 0x2
    static let noDevices: UInt64 = 0x4
    static let noExecution: UInt64 = 0x8
    static let noAccessTime: UInt64 = 0x10
    static let strictAccessTime: UInt64 = 0x20
    /// MOUNT_ATTR__ATIME: the field of the two above; 0 means relatime.
    static let accessTimes: UInt64 = 0x70
    static let noDirectoryTimes: UInt64 = 0x80
    static let noSymbolicLinks: UInt64 = 0x20_0000
}
