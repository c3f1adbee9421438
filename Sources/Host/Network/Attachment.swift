import Glibc
import LinuxKernel
import Netlink

/// An endpoint that is ready for a guest: queues to read and write frames, and what was set up for them on the host.
package struct Attachment: Sendable {
    package let endpoint: NetworkPlan.Endpoint
    /// Descriptors of the tap or macvtap, one for each of the guest's queues.
    package let queues: [SharedDescriptor]
    /// Index of the link that was created; 0 for none.
    package let createdLink: Int32
    /// The link's address while the guest uses the link's real one; nil where it keeps its own.
    package let temporaryAddress: HardwareAddress?
    /// The name of the guest's device on the host.
    package let number: Int

    /// Sets the endpoint up in the calling thread's network namespace; undoes it when something fails.
    ///
    /// - Parameter resolver: a resolver in the namespace serves the guest, and needs the answers that are meant for
    ///   it.
    package static func make(_ endpoint: NetworkPlan.Endpoint, number: Int, queues: Int, resolver: Bool) throws
        -> Attachment
    {
        let socket = try NetlinkSocket()
        let name = NetworkPlan.ownName(number)
        func attachment(
            _ queues: [SharedDescriptor], _ createdLink: Int32 = 0, temporaryAddress: HardwareAddress? = nil
        ) -> Attachment {
            Attachment(
                endpoint: endpoint, queues: queues, createdLink: createdLink, temporaryAddress: temporaryAddress,
                number: number)
        }
        switch endpoint.source {
        case .tap: return attachment(try TapDevice.open(endpoint.name, queues: queues))
        case .macvtap: return attachment(try openMacvtap(endpoint.link, queues))
        case .redirected, .beside:
            let opened = try TapDevice.open(name, queues: queues)
            let tap = try socket.link(named: name)
            try raise(tap.index, endpoint, socket)
            if endpoint.source == .redirected { try redirect(endpoint, tap.index, resolver, socket) }
            return attachment(opened, tap.index)
        case .stacked:
            // The guest has the link's address, so the link must have another.
            let temporaryAddress = HardwareAddress.random()
            try give(endpoint.link, temporaryAddress, socket)
            do {
                try socket.createMacvtap(name, on: endpoint.link, address: endpoint.hardwareAddress)
                let tap = try socket.link(named: name)
                try raise(tap.index, endpoint, socket)
                return attachment(try openMacvtap(tap.index, queues), tap.index, temporaryAddress: temporaryAddress)
            } catch {
                unstack(endpoint.link, endpoint.hardwareAddress, name, socket)
                throw error
            }
        }
    }

    /// Restores the link in the calling thread's network namespace. A missing link is no error.
    package func undo() { record.undo() }

    package var record: Record { Record(endpoint, number: number) }

    /// Describes how to remove an attachment from a foreign link, for a cleanup after a crash.
    package struct Record: Codable, Equatable, Sendable {
        let link: Int32
        let source: String
        let number: Int
        let hardwareAddress: String

        /// - Parameter number: the attachment's number, which `make` receives too.
        package init(_ endpoint: NetworkPlan.Endpoint, number: Int) {
            link = endpoint.link
            source = endpoint.source.rawValue
            self.number = number
            hardwareAddress = endpoint.hardwareAddress.description
        }

        package func undo() {
            guard let socket = try? NetlinkSocket() else { return }
            switch NetworkPlan.Endpoint.Source(rawValue: source) {
            case .redirected: try? socket.deleteIngress(link)
            case .stacked:
                guard let address = HardwareAddress(hardwareAddress) else { return }
                Attachment.unstack(link, address, NetworkPlan.ownName(number), socket)
            // A tap disappears with its last queue.
            case .tap, .macvtap, .beside, nil: break
            }
        }
    }

    private static func raise(_ link: Int32, _ endpoint: NetworkPlan.Endpoint, _ socket: NetlinkSocket) throws {
        var change = NetlinkSocket.Change()
        change.mtu = endpoint.mtu
        change.isUp = true
        try socket.change(link, change)
    }

    private static func redirect(
        _ endpoint: NetworkPlan.Endpoint, _ tap: Int32, _ resolver: Bool, _ socket: NetlinkSocket
    ) throws {
        do { try socket.addIngress(endpoint.link) } catch {
            guard error.code == EEXIST else { throw error }
            throw NetworkError(
                "link \(endpoint.name) has an ingress queueing discipline already: another sandbox has its packets")
        }
        do {
            try socket.addIngress(tap)
            if resolver { try allowResolverReplies(endpoint, tap, socket) }
            try socket.add(IngressRule(priority: 10, .redirect(to: tap)), on: endpoint.link)
            try socket.add(IngressRule(priority: 10, .redirect(to: endpoint.link)), on: tap)
        } catch {
            try? socket.deleteIngress(endpoint.link)
            throw error
        }
    }

    /// Lets the namespace's resolver receive its answers from now on.
    package func allowResolverReplies() throws {
        if endpoint.source == .redirected { try Self.allowResolverReplies(endpoint, createdLink, NetlinkSocket()) }
    }

    private static func allowResolverReplies(_ endpoint: NetworkPlan.Endpoint, _ tap: Int32, _ socket: NetlinkSocket)
        throws
    {
        try NameResolver.claimPorts()
        for rule in NameResolver.rules(tap: tap) { try socket.add(rule, on: endpoint.link) }
    }

    private static func give(_ link: Int32, _ address: HardwareAddress, _ socket: NetlinkSocket) throws {
        // A change of its address makes a link lose its neighbours, permanent ones too.
        let neighbors = try socket.neighbors().filter { $0.link == link && $0.isPermanent }
        var change = NetlinkSocket.Change()
        change.hardwareAddress = address
        try socket.change(link, change)
        for neighbor in neighbors { try socket.add(neighbor) }
    }

    private static func unstack(_ link: Int32, _ address: HardwareAddress, _ name: String, _ socket: NetlinkSocket) {
        if let made = try? socket.link(named: name) { try? socket.delete(link: made.index) }
        try? give(link, address, socket)
    }

    /// Opens a macvtap's queues: a device node with its index, which devtmpfs makes (macvtap.c).
    private static func openMacvtap(_ link: Int32, _ queues: Int) throws -> [SharedDescriptor] {
        try (0..<max(1, queues)).map { _ in
            SharedDescriptor(try FileDescriptor.open("/dev/tap\(link)", O_RDWR | O_NONBLOCK))
        }
    }
}

extension HardwareAddress {
    /// Makes a random address: locally administered, unicast (IEEE 802, 8.2).
    static func random() -> HardwareAddress {
        HardwareAddress(bytes: [0x02] + (0..<5).map { _ in UInt8.random(in: 0...255) })
    }
}
