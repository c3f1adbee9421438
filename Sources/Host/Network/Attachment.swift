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
    package let record: Record

    /// The name of the guest's device.
    package var device: String { "net\(record.number)" }

    /// Sets the endpoint up in the calling thread's network namespace; undoes it when something fails.
    ///
    /// - Parameters:
    ///   - record: of this endpoint.
    ///   - resolver: a resolver in the namespace serves the guest, and needs the answers that are meant for it.
    /// - Throws: `SystemError` of the tap, the macvtap or rtnetlink. `NetworkError` when another sandbox has the link's
    ///   packets.
    package static func make(_ endpoint: NetworkPlan.Endpoint, _ record: Record, queues: Int, resolver: Bool) throws
        -> Attachment
    {
        let socket = try NetlinkSocket()
        let name = NetworkPlan.ownName(record.number)
        func attachment(
            _ queues: [SharedDescriptor], _ createdLink: Int32 = 0, temporaryAddress: HardwareAddress? = nil
        ) -> Attachment {
            var record = record
            record.tap = createdLink
            return Attachment(
                endpoint: endpoint, queues: queues, createdLink: createdLink, temporaryAddress: temporaryAddress,
                record: record)
        }
        switch endpoint.source {
        case .tap: return attachment(try TapDevice.open(endpoint.name, queues: queues))
        case .macvtap: return attachment(try openMacvtap(endpoint.link, queues))
        case .redirected, .wrapped, .beside:
            let opened = try TapDevice.open(name, queues: queues)
            let tap = try socket.link(named: name)
            try raise(tap.index, endpoint, socket)
            if endpoint.source.hasFilters {
                try record.redirection(to: tap.index, socket).make(name: endpoint.name, resolver: resolver)
            }
            return attachment(opened, tap.index)
        case .stacked:
            // The guest has the link's address, so the link must have another.
            let temporaryAddress = HardwareAddress.random()
            try give(endpoint.link, temporaryAddress, socket)
            do { try socket.createMacvtap(name, on: endpoint.link, address: endpoint.hardwareAddress) } catch {
                // A macvtap of this name is another sandbox's.
                try? give(endpoint.link, endpoint.hardwareAddress, socket)
                throw error
            }
            do {
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

    /// Describes how to remove an attachment from a foreign link, for a cleanup after a crash.
    package struct Record: Codable, Equatable, Sendable {
        let link: Int32
        let source: String
        let number: Int
        let hardwareAddress: String
        /// Whether the link's ingress discipline is the attachment's, and goes with it. It is nil in a record of an
        /// earlier version, which had no filters beside others'.
        let ownsDiscipline: Bool?
        /// Index of the tap that the link's frames are redirected to; nil while it is not known.
        fileprivate(set) var tap: Int32?

        /// Reads the link in the calling thread's network namespace.
        /// - Parameter number: the attachment's number, unique in its sandbox.
        /// - Throws: `SystemError` of rtnetlink.
        package init(_ endpoint: NetworkPlan.Endpoint, number: Int) throws {
            link = endpoint.link
            source = endpoint.source.rawValue
            self.number = number
            hardwareAddress = endpoint.hardwareAddress.description
            ownsDiscipline =
                try endpoint.source.hasFilters && Redirection.mayOwnDiscipline(of: endpoint.link, NetlinkSocket())
        }

        package func undo() {
            guard let socket = try? NetlinkSocket() else { return }
            switch NetworkPlan.Endpoint.Source(rawValue: source) {
            case .redirected, .wrapped:
                guard ownsDiscipline != nil else {
                    try? socket.deleteIngress(link)
                    return
                }
                let index = tap ?? (try? socket.link(named: NetworkPlan.ownName(number)))?.index ?? 0
                redirection(to: index, socket).undo()
            case .stacked:
                guard let address = HardwareAddress(hardwareAddress) else { return }
                Attachment.unstack(link, address, NetworkPlan.ownName(number), socket)
            // A tap disappears with its last queue.
            case .tap, .macvtap, .beside, nil: break
            }
        }

        fileprivate func redirection(to tap: Int32, _ socket: NetlinkSocket) -> Redirection {
            let receiver =
                source == NetworkPlan.Endpoint.Source.wrapped.rawValue ? HardwareAddress(hardwareAddress) : nil
            return Redirection(
                link: link, tap: tap, ownsDiscipline: ownsDiscipline == true, receiver: receiver, socket)
        }
    }

    private static func raise(_ link: Int32, _ endpoint: NetworkPlan.Endpoint, _ socket: NetlinkSocket) throws {
        var change = NetlinkSocket.Change()
        change.mtu = endpoint.mtu
        change.isUp = true
        try socket.change(link, change)
    }

    /// Lets the namespace's resolver receive its answers from now on.
    /// - Throws: `SystemError` of rtnetlink.
    package func allowResolverReplies() throws {
        guard endpoint.source.hasFilters else { return }
        try record.redirection(to: createdLink, NetlinkSocket()).allowResolverReplies()
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
    /// The guest's address on a link that has no Ethernet address: locally administered, and the same each time.
    static func made(for link: Int32) -> HardwareAddress {
        HardwareAddress(bytes: [0x02, 0x6b] + (0..<4).reversed().map { UInt8(truncatingIfNeeded: link >> ($0 * 8)) })
    }

    /// Makes a random address: locally administered, unicast (IEEE 802, 8.2).
    static func random() -> HardwareAddress {
        HardwareAddress(bytes: [0x02] + (0..<5).map { _ in UInt8.random(in: 0...255) })
    }
}
