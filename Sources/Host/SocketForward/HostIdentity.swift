import AgentAPI
import OCISpec
import Synchronization

/// A user of the host, as a connection to a socket shows it (SO_PEERCRED, SO_PEERGROUPS; unix(7)).
struct HostIdentity: Equatable, Sendable {
    var user: UInt32
    var group: UInt32
    /// Supplementary groups.
    var groups: [UInt32] = []
    /// It may write whatever a file's mode says (CAP_DAC_OVERRIDE, capabilities(7)).
    var overridesModes = false

    /// Nobody of the host: the kernel's overflow user and group (/proc/sys/kernel/overflowuid).
    static let overflow = HostIdentity(user: 65534, group: 65534)
}

/// What a container's user namespace makes of its ids on the host (user_namespaces(7)); without one they are the host's.
package struct IDMaps: Equatable, Sendable {
    private var isMapped = false
    private var users: [IDMapping] = []
    private var groups: [IDMapping] = []

    package init() {}

    /// - Parameter joined: of the container whose user namespace this one joins.
    package init(_ spec: Spec, joined: IDMaps? = nil) {
        (users, groups) = (spec.linux?.uidMappings ?? [], spec.linux?.gidMappings ?? [])
        isMapped =
            !users.isEmpty || !groups.isEmpty || (spec.linux?.namespaces ?? []).contains { $0.type == "user" }
        if let joined, users.isEmpty, groups.isEmpty { self = joined }
    }

    /// What a process of this specification is on the host. Ids that are not mapped are the overflow ids; supplementary groups that are
    /// not mapped are left out.
    func identity(of process: OCISpec.Process) -> HostIdentity {
        let user = process.user
        // What is left of them after execve(2): root's are kept, another user's only where they are ambient (capabilities(7)).
        let capabilities = user.uid == 0 ? process.capabilities?.effective : process.capabilities?.ambient
        return HostIdentity(
            user: host(user.uid, users) ?? HostIdentity.overflow.user,
            group: host(user.gid, groups) ?? HostIdentity.overflow.group,
            groups: (user.additionalGids ?? []).compactMap { host($0, groups) },
            overridesModes: !isMapped && capabilities?.contains("CAP_DAC_OVERRIDE") == true)
    }

    private func host(_ id: UInt32, _ maps: [IDMapping]) -> UInt32? {
        guard isMapped else { return id }
        for map in maps where id >= map.containerID && id - map.containerID < map.size {
            let (host, isTooLarge) = map.hostID.addingReportingOverflow(id - map.containerID)
            return isTooLarge ? nil : host
        }
        return nil
    }
}

/// The identities that config.json and the current execs have given a container. A connection to a socket of the host is made with one
/// of them: a guest may choose among them, and no more.
package final class ContainerIdentities: Sendable {
    package let maps: IDMaps
    private let given = Mutex<[(process: String, identity: HostIdentity)]>([])

    package init(_ maps: IDMaps) { self.maps = maps }

    /// - Parameter process: the exec's id; empty for the container's own.
    package func give(_ process: String, _ specification: OCISpec.Process) {
        let identity = maps.identity(of: specification)
        given.withLock { $0.append((process, identity)) }
    }

    /// The process has ended.
    package func withdraw(_ process: String) { given.withLock { $0.removeAll { $0.process == process } } }

    /// The identity with the user and group that the guest says its client has: the container's own first, then the execs' in their order.
    /// - Returns: nil when no process was given them.
    func identity(claimed client: SocketRelay.Client) -> HostIdentity? {
        given.withLock { given in
            given.first { $0.identity.user == client.user && $0.identity.group == client.group }?.identity
        }
    }
}
