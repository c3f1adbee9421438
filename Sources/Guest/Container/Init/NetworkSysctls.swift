import CLinux
import LinuxKernel

/// Writes the sysctls of the guest's network for a container.
///
/// The network belongs to the guest's own user namespace, so they are written before the container's is entered. Under
/// runc the container's namespace has made the network, and the kernel takes group ids in values as the container's:
/// here they are mapped first.
struct NetworkSysctls {
    let settings: [ContainerPlan.Setting]
    let namespaces: NamespacePlan

    /// The file whose value is two groups (ip-sysctl.rst, ping_group_range).
    private static let groups = "/proc/sys/net/ipv4/ping_group_range"

    /// - Throws: `SystemError` with the file, and `PlanError` for a group that the container's user namespace lacks.
    func write() throws {
        for setting in try mapped() { try Files.write(setting.path, setting.value) }
    }

    /// The settings as the guest's own user namespace reads them.
    /// - Throws: as `write`.
    func mapped() throws -> [ContainerPlan.Setting] {
        guard settings.contains(where: { $0.path == Self.groups }), let map = try groupMap() else { return settings }
        return try settings.map { setting throws(PlanError) in
            guard setting.path == Self.groups else { return setting }
            return ContainerPlan.Setting(setting.path, try Self.outside(setting.value, by: map))
        }
    }

    /// Lines of gid_map; nil in the guest's own user namespace.
    private func groupMap() throws(SystemError) -> String? {
        guard namespaces.has(clx_new_user) else { return nil }
        guard let joined = namespaces.joined.first(where: { $0.flag == UInt64(clx_new_user.rawValue) }) else {
            return namespaces.groupMap
        }
        // A namespace to join is that of a process, as the agent names it: /proc/PID/ns/user.
        return try Files.readText(Files.parent(of: Files.parent(of: joined.path)) + "/gid_map")
    }

    /// Maps the ids of a value; the kernel judges a value that is no list of numbers.
    /// - Parameter map: lines of first inside, first outside, count (user_namespaces(7)).
    static func outside(_ value: String, by map: String) throws(PlanError) -> String {
        let ids = value.split(whereSeparator: \.isWhitespace).map { UInt32($0) }
        guard !ids.contains(nil) else { return value }
        let ranges = map.split(separator: "\n").map { $0.split(separator: " ").compactMap { UInt32($0) } }
        var result: [String] = []
        for id in ids.compactMap({ $0 }) {
            guard let range = ranges.first(where: { $0.count == 3 && id >= $0[0] && id - $0[0] < $0[2] }) else {
                throw PlanError(
                    "linux.sysctl", "net.ipv4.ping_group_range: group \(id) is not in linux.gidMappings: map it")
            }
            result.append("\(range[1] + (id - range[0]))")
        }
        return result.joined(separator: " ")
    }
}
