import AgentAPI
import OCISpec
import Synchronization

/// A user of the host, as a connection to a socket shows it (SO_PEERCRED, SO_PEERGROUPS; unix(7)).
struct HostIdentity: Equatable, Sendable {
    var user: UInt32
    var group: UInt32
    /// Supplementary groups.
    var groups: [UInt32] = []
    /// Whether it may write any file, whatever the mode (CAP_DAC_OVERRIDE, capabilities(7)).
    var overridesModes = false

    /// An identity without rights on the host: the kernel's overflow user and group (/proc/sys/kernel/overflowuid).
    static let overflow = HostIdentity(user: 65534, group: 65534)
}

/// Maps ids of a container's user namespace to the host's (user_namespaces(7)); without a user namespace they are
/// equal.
package struct IDMaps: Equatable, Sendable {
    private var isMapped = false
    private var users: [IDMapping] = []
    private var groups: [IDMapping] = []

    package init() {}

    /// - Parameter joined: the specification of the container whose user namespace this one joins.
    package init(_ spec: Spec, joined: IDMaps? = nil) {
        (users, groups) = (spec.linux?.uidMappings ?? [], spec.linux?.gidMappings ?? [])
        isMapped =
            !users.isEmpty || !groups.isEmpty || (spec.linux?.namespaces ?? []).contains { $0.type == "user" }
        if let joined, users.isEmpty, groups.isEmpty { self = joined }
    }

    /// The host identity of a process with this specification. Unmapped ids become the overflow ids; unmapped
    /// supplementary groups are left out.
    func identity(of process: OCISpec.Process) -> HostIdentity {
        let user = process.user
        // Capabilities after execve(2): root keeps them, another user only the ambient ones (capabilities(7)).
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

/// The identities that config.json and the current execs have given a container. A connection to a host socket is
/// made with one of them: the guest can choose no other.
package final class ContainerIdentities: Sendable {
    package let maps: IDMaps
    private let given = Mutex<[(process: String, identity: HostIdentity)]>([])

    package init(_ maps: IDMaps) { self.maps = maps }

    /// - Parameter process: the exec's id; empty for the container's own.
    package func give(_ process: String, _ specification: OCISpec.Process) {
        let identity = maps.identity(of: specification)
        given.withLock { $0.append((process, identity)) }
    }

    /// Removes the identity of a process that has ended.
    package func withdraw(_ process: String) { given.withLock { $0.removeAll { $0.process == process } } }

    /// Finds the identity with the user and group that the guest reports: the container's own first, then the execs'
    /// in their order.
    /// - Returns: nil when no process has that user and group.
    func identity(claimed client: SocketRelay.Client) -> HostIdentity? {
        given.withLock { given in
            given.first { $0.identity.user == client.user && $0.identity.group == client.group }?.identity
        }
    }
}
