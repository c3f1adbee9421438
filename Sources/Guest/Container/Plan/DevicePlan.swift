import Glibc
import OCISpec

/// A device node of a container.
package struct DevicePlan: Equatable, Sendable {
    package var path = ""
    /// Type and permissions, as in mknod(2).
    package var mode: UInt32 = 0
    package var major: UInt32 = 0
    package var minor: UInt32 = 0
    package var user: UInt32 = 0
    package var group: UInt32 = 0
    /// Whether it is a default device of the specification; a node that exists already is kept.
    package var isDefault = false

    /// The specification's default devices, then those of the list; a listed one replaces a default of the same path.
    static func all(_ listed: [OCISpec.Linux.Device]) -> [DevicePlan] {
        let devices = listed.map { device in
            let type: mode_t =
                switch device.type {
                case "b": S_IFBLK
                case "p": S_IFIFO
                default: S_IFCHR
                }
            return DevicePlan(
                path: device.path, mode: UInt32(type) | (device.fileMode ?? 0o666) & 0o7777,
                major: UInt32(clamping: device.major ?? 0), minor: UInt32(clamping: device.minor ?? 0),
                user: device.uid ?? 0, group: device.gid ?? 0, isDefault: false)
        }
        let paths = Set(devices.map(\.path))
        return defaults.filter { !paths.contains($0.path) } + devices
    }

    /// The default devices (config-linux.md). Of that list, ptmx is a link and console is the terminal.
    private static let defaults: [DevicePlan] = [
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ].map { (name: String, major: UInt32, minor: UInt32) in
        DevicePlan(
            path: "/dev/" + name, mode: UInt32(S_IFCHR) | 0o666, major: major, minor: minor, user: 0, group: 0,
            isDefault: true)
    }
}

extension DevicePlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&path)
        coder.code(&mode)
        coder.code(&major)
        coder.code(&minor)
        coder.code(&user)
        coder.code(&group)
        coder.code(&isDefault)
    }
}
