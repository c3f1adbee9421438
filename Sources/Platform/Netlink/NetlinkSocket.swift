import CLinux
import Glibc
import LinuxKernel

/// A socket of rtnetlink(7): lists and changes links, addresses, routes and neighbours of the calling thread's network
/// namespace. Calls block, at most `answerSeconds` for each answer.
package final class NetlinkSocket {
    private let descriptor: FileDescriptor
    private var sequence: UInt32 = 0
    private static let answerSeconds: Int32 = 5

    package init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "rtnetlink", clx_netlink_route(Self.answerSeconds, 0)))
    }

    // MARK: Links

    package func links() throws(SystemError) -> [Link] {
        try dump(MessageType.getLink, header: Link.headerSize, "links", of: MessageType.newLink).compactMap {
            Link($0.payload)
        }
    }

    package func link(named name: String) throws(SystemError) -> Link {
        guard let link = try links().first(where: { $0.name == name }) else {
            throw SystemError("find link", name, errno: ENODEV)
        }
        return link
    }

    /// Changes of a link; nil leaves a value as it is.
    package struct Change {
        package var name: String?
        package var mtu: UInt32?
        package var hardwareAddress: HardwareAddress?
        package var isUp: Bool?
        /// IFF_* bits to set beside IFF_UP.
        package var flags: UInt32 = 0
        package init() {}
    }

    package func change(_ link: Int32, _ change: Change) throws(SystemError) {
        try acknowledge(MessageType.newLink, flags: 0, Self.payload(link, change), "change link", "\(link)")
    }

    static func payload(_ link: Int32, _ change: Change) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(UInt32(0))
        writer.put(link)
        writer.put((change.isUp == true ? LinkFlags.up : 0) | change.flags)
        writer.put((change.isUp == nil ? 0 : LinkFlags.up) | change.flags)
        if let name = change.name { writer.attribute(LinkAttribute.name, name) }
        if let mtu = change.mtu { writer.attribute(LinkAttribute.mtu, mtu) }
        if let address = change.hardwareAddress { writer.attribute(LinkAttribute.hardwareAddress, address.bytes) }
        return writer.bytes
    }

    /// Makes a link of a kind without parameters, such as `dummy` or `bridge`, or a `veth` whose other end is named
    /// `peer`.
    package func create(_ name: String, kind: String, peer: String? = nil) throws(SystemError) {
        try acknowledge(
            MessageType.newLink, flags: MessageFlags.createNew, Self.payload(name, kind: kind, peer: peer),
            "make \(kind) link", name)
    }

    /// Makes a macvtap on `lower` (ip-link(8)); in mode bridge, those of one link see each other.
    package func createMacvtap(_ name: String, on lower: Int32, address: HardwareAddress) throws(SystemError) {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(LinkAttribute.name, name)
        writer.attribute(LinkAttribute.hardwareAddress, address.bytes)
        writer.attribute(LinkAttribute.lower, UInt32(bitPattern: lower))
        writer.nested(LinkAttribute.info) { info in
            info.attribute(LinkAttribute.kind, "macvtap")
            info.nested(LinkAttribute.data) {
                $0.attribute(LinkAttribute.macvlanMode, LinkAttribute.macvlanBridge)
            }
        }
        try acknowledge(MessageType.newLink, flags: MessageFlags.createNew, writer.bytes, "make macvtap link", name)
    }

    static func payload(_ name: String, kind: String, peer: String?) -> [UInt8] {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(LinkAttribute.name, name)
        writer.nested(LinkAttribute.info) { info in
            info.attribute(LinkAttribute.kind, kind)
            if let peer {
                info.nested(LinkAttribute.data) { data in
                    data.nested(LinkAttribute.vethPeer) { other in
                        for _ in 0..<4 { other.put(UInt32(0)) }
                        other.attribute(LinkAttribute.name, peer)
                    }
                }
            }
        }
        return writer.bytes
    }

    package func delete(link: Int32) throws(SystemError) {
        try acknowledge(MessageType.deleteLink, flags: 0, Self.payload(link, Change()), "delete link", "\(link)")
    }

    // MARK: Addresses, routes, neighbours

    package func addresses() throws(SystemError) -> [LinkAddress] {
        try dump(MessageType.getAddress, header: LinkAddress.headerSize, "addresses", of: MessageType.newAddress)
            .compactMap { LinkAddress($0.payload) }
    }

    package func add(_ address: LinkAddress) throws(SystemError) {
        try acknowledge(
            MessageType.newAddress, flags: MessageFlags.createOrReplace, address.payload, "add address",
            "\(address.prefix)")
    }

    package func delete(_ address: LinkAddress) throws(SystemError) {
        try acknowledge(MessageType.deleteAddress, flags: 0, address.payload, "delete address", "\(address.prefix)")
    }

    package func routes() throws(SystemError) -> [Route] {
        try dump(MessageType.getRoute, header: Route.headerSize, "routes", of: MessageType.newRoute)
            .compactMap { Route($0.payload) }
    }

    /// Adds a route, or replaces one with the same destination.
    package func add(_ route: Route) throws(SystemError) {
        try acknowledge(
            MessageType.newRoute, flags: MessageFlags.createOrReplace, route.payload, "add route to", Self.name(route))
    }

    package func delete(_ route: Route) throws(SystemError) {
        try acknowledge(MessageType.deleteRoute, flags: 0, route.payload, "delete route to", Self.name(route))
    }

    private static func name(_ route: Route) -> String {
        (route.destination.map { "\($0)" } ?? "default") + (route.gateway.map { " via \($0)" } ?? "")
    }

    package func neighbors() throws(SystemError) -> [Neighbor] {
        try dump(MessageType.getNeighbor, header: Neighbor.headerSize, "neighbours", of: MessageType.newNeighbor)
            .compactMap { Neighbor($0.payload) }
    }

    package func add(_ neighbor: Neighbor) throws(SystemError) {
        try acknowledge(
            MessageType.newNeighbor, flags: MessageFlags.createOrReplace, neighbor.payload, "add neighbour",
            "\(neighbor.address)")
    }

    // MARK: Traffic control

    /// Adds the ingress queueing discipline of a link, which holds its ingress rules.
    /// - Throws: EEXIST when another sandbox or an administrator has added one.
    package func addIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.newQueueingDiscipline, flags: MessageFlags.createNew, TrafficControl.ingress(link),
            "take packets of link", "\(link)")
    }

    /// Removes the ingress queueing discipline and its rules.
    package func deleteIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.deleteQueueingDiscipline, flags: 0, TrafficControl.ingress(link), "give back packets of link",
            "\(link)")
    }

    package func add(_ rule: IngressRule, on link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.newTrafficFilter, flags: MessageFlags.createNew, rule.payload(on: link),
            "add a rule for packets of link", "\(link)")
    }

    // MARK: The wire

    private func send(_ type: UInt16, _ flags: UInt16, _ payload: [UInt8]) throws(SystemError) -> UInt32 {
        sequence &+= 1
        let request = NetlinkMessage.request(type, flags: flags, sequence: sequence, payload)
        try check("ask", "rtnetlink") { unsafe Glibc.send(descriptor.raw, request, request.count, 0) }
        return sequence
    }

    private func receive() throws(SystemError) -> [NetlinkMessage] {
        // SAFETY: recv(2) writes at most `count` bytes.
        let (bytes, count) = unsafe readBytes(upTo: 65536) { unsafe recv(descriptor.raw, $0.baseAddress, $0.count, 0) }
        try checkNegativeErrno("hear from", "rtnetlink", count)
        return NetlinkMessage.parse(bytes)
    }

    /// Lists all objects of a kind.
    /// - Parameters:
    ///   - header: size of the kind's struct, which the kernel wants even where all its fields are 0.
    ///   - answers: the type of the messages that hold the objects.
    private func dump(
        _ type: UInt16, header: Int, _ object: String, of answers: UInt16
    ) throws(SystemError) -> [NetlinkMessage] {
        let number = try send(type, MessageFlags.dump, [UInt8](repeating: 0, count: header))
        var all: [NetlinkMessage] = []
        while true {
            for message in try receive() where message.sequence == number {
                if message.type == MessageType.done { return all }
                if let failure = message.failure {
                    throw SystemError("list", object, errno: failure.errno)
                }
                if message.type == answers { all.append(message) }
            }
        }
    }

    /// Requests a change and waits for the kernel's acknowledgement.
    private func acknowledge(
        _ type: UInt16, flags: UInt16, _ payload: [UInt8], _ operation: String, _ object: String
    ) throws(SystemError) {
        let number = try send(type, flags | MessageFlags.acknowledge, payload)
        while true {
            for message in try receive() where message.sequence == number {
                guard let failure = message.failure else { continue }
                guard failure.errno != 0 else { return }
                throw SystemError(
                    operation, failure.words.isEmpty ? object : "\(object) (\(failure.words))", errno: failure.errno)
            }
        }
    }
}
