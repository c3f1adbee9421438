import CLinux
import OCISpec

/// The namespaces of a container: new ones, and existing ones that it joins.
package struct NamespacePlan: Equatable, Sendable {
    /// CLONE_NEW* flags of new namespaces, but for the cgroup namespace: it is made once the process is in its cgroup.
    package var new: UInt64 = 0
    package var newCgroup = false
    /// Namespaces to join; a user namespace comes first.
    package var joined: [Joined] = []
    /// Lines of uid_map and gid_map (user_namespaces(7)); empty without a new user namespace.
    package var userMap = ""
    package var groupMap = ""
    /// Lines of timens_offsets (time_namespaces(7)).
    package var timeOffsets = ""

    package struct Joined: Equatable, Sendable {
        package var path = ""
        package var flag: UInt64 = 0
    }

    /// Whether one clone(2) makes all namespaces; other plans need several steps in a fixed order.
    package var isOneClone: Bool {
        joined.isEmpty && new & UInt64(clx_new_user.rawValue | clx_new_time.rawValue) == 0
    }

    package func has(_ flag: clx_namespaces) -> Bool {
        new & UInt64(flag.rawValue) != 0 || joined.contains { $0.flag == UInt64(flag.rawValue) }
    }

    /// A mount of the guest that containers get copies of.
    package struct GuestsMount: Equatable, Sendable {
        package let path: String
        package let isReadOnly: Bool
    }

    /// The guest's own mount of a file system that belongs to a namespace which the container shares with the guest.
    /// The kernel lets no other user namespace mount it anew (EPERM).
    /// - Parameter type: of the file system.
    package func guestsMount(of type: String) -> GuestsMount? {
        guard has(clx_new_user) else { return nil }
        switch type {
        // All containers share the guest's network.
        case "sysfs": return GuestsMount(path: "/sys", isReadOnly: true)
        case "mqueue": return has(clx_new_ipc) ? nil : GuestsMount(path: "/dev/mqueue", isReadOnly: false)
        default: return nil
        }
    }

    init() {}

    /// Network namespaces are left out: the guest has one network.
    /// - Throws: `PlanError` with the field's path.
    init(_ linux: OCISpec.Linux) throws(PlanError) {
        new = UInt64(clx_new_mount.rawValue) | UInt64(clx_new_pid.rawValue)
        for (index, namespace) in (linux.namespaces ?? []).enumerated() {
            let flag: clx_namespaces
            switch namespace.type {
            case "network": continue
            case "mount": flag = clx_new_mount
            case "pid": flag = clx_new_pid
            case "ipc": flag = clx_new_ipc
            case "uts": flag = clx_new_uts
            case "user": flag = clx_new_user
            case "time": flag = clx_new_time
            case "cgroup": flag = clx_new_cgroup
            default: throw PlanError("linux.namespaces[\(index)].type", "unknown namespace \"\(namespace.type)\"")
            }
            let bit = UInt64(flag.rawValue)
            if let path = namespace.path, !path.isEmpty {
                guard flag != clx_new_mount else {
                    throw PlanError(
                        "linux.namespaces[\(index)].path",
                        "a container with a root of its own needs a new mount namespace"
                    )
                }
                new &= ~bit
                joined.append(Joined(path: path, flag: bit))
            } else if flag == clx_new_cgroup {
                newCgroup = true
            } else {
                new |= bit
            }
        }
        joined.sort { left, _ in left.flag == UInt64(clx_new_user.rawValue) }
        func lines(_ mappings: [IDMapping]?) -> String {
            (mappings ?? []).map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
        }
        let ownUsers = new & UInt64(clx_new_user.rawValue) != 0
        userMap = ownUsers ? lines(linux.uidMappings) : ""
        groupMap = ownUsers ? lines(linux.gidMappings) : ""
        timeOffsets = (linux.timeOffsets ?? [:]).sorted { $0.key < $1.key }.map {
            "\($0.key) \($0.value.secs ?? 0) \($0.value.nanosecs ?? 0)\n"
        }.joined()
    }
}

extension NamespacePlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&new)
        coder.code(&newCgroup)
        coder.code(&joined)
        coder.code(&userMap)
        coder.code(&groupMap)
        coder.code(&timeOffsets)
    }
}

extension NamespacePlan.Joined: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&path)
        coder.code(&flag)
    }
}
