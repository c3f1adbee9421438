/// The number of a device (makedev(3)).
package struct DeviceNumber: Hashable, Sendable, CustomStringConvertible {
    /// The number in the format of `st_rdev` (stat(2)).
    package let raw: UInt64

    package init(_ raw: UInt64) { self.raw = raw }

    package init(major: UInt32, minor: UInt32) {
        let (major, minor) = (UInt64(major), UInt64(minor))
        raw = (major & 0xfff) << 8 | (major & ~0xfff) << 32 | minor & 0xff | (minor & ~0xff) << 12
    }

    package var major: UInt32 { UInt32(truncatingIfNeeded: raw >> 8 & 0xfff | raw >> 32 & ~0xfff) }
    package var minor: UInt32 { UInt32(truncatingIfNeeded: raw & 0xff | raw >> 12 & ~0xff) }

    /// `8:1`, as in /sys/dev/block.
    package var description: String { "\(major):\(minor)" }
}
