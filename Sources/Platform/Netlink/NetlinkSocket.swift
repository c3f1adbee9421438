import CLinux
import Glibc
import LinuxKernel

/// A conversation with the kernel about links, addresses, routes and neighbours of the calling thread's network namespace
/// (rtnetlink(7)). Calls block, at most five seconds for each answer.
package final class NetlinkSocket {
    private let descriptor: FileDescriptor
    private var sequence: UInt32 = 0

    package init() throws(SystemError) {
        descriptor = FileDescriptor(owning: try checkNegativeErrno("open", "rtnetlink", clx_netlink_route(5, 0)))
    }

    // MARK: Links

    package func links() throws(SystemError) -> [Link] {
        try dump(18, [UInt8](repeating: 0, count: 16), "links").filter { $0.type == 16 }.compactMap { Link($0.payload) }
    }

    package func link(named name: String) throws(SystemError) -> Link {
        guard let link = try links().first(where: { $0.name == name }) else {
            throw SystemError("find link", name, errno: ENODEV)
        }
        return link
    }

    /// What is to change of a link; nil stays.
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
        try acknowledge(16, flags: 0, Self.payload(link, change), "change link", "\(link)")
    }

    static func payload(_ link: Int32, _ change: Change) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(UInt32(0))
        writer.put(link)
        writer.put((change.isUp == true ? 1 : 0) | change.flags)
        writer.put((change.isUp == nil ? 0 : 1) | change.flags)
        if let name = change.name { writer.attribute(3, name) }
        if let mtu = change.mtu { writer.attribute(4, mtu) }
        if let address = change.hardwareAddress { writer.attribute(1, address.bytes) }
        return writer.bytes
    }

    /// Makes a link of a kind that needs no more words: `dummy`, `bridge`; a `veth` with `peer` as its other end's name.
    package func create(_ name: String, kind: String, peer: String? = nil) throws(SystemError) {
        try acknowledge(16, flags: 0x600, Self.payload(name, kind: kind, peer: peer), "make \(kind) link", name)
    }

    /// Makes a macvtap on `lower` (ip-link(8)); in mode bridge, those of one link see each other.
    package func createMacvtap(_ name: String, on lower: Int32, address: HardwareAddress) throws(SystemError) {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(3, name)
        writer.attribute(1, address.bytes)
        writer.attribute(5, UInt32(bitPattern: lower))
        writer.nested(18) { info in
            info.attribute(1, "macvtap")
            info.nested(2) { $0.attribute(1, UInt32(4)) }
        }
        try acknowledge(16, flags: 0x600, writer.bytes, "make macvtap link", name)
    }

    static func payload(_ name: String, kind: String, peer: String?) -> [UInt8] {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(3, name)
        writer.nested(18) { info in
            info.attribute(1, kind)
            if let peer {
                info.nested(2) { data in
                    // VETH_INFO_PEER: a whole link message of its own.
                    data.nested(1) { other in
                        for _ in 0..<4 { other.put(UInt32(0)) }
                        other.attribute(3, peer)
                    }
                }
            }
        }
        return writer.bytes
    }

    package func delete(link: Int32) throws(SystemError) {
        try acknowledge(17, flags: 0, Self.payload(link, Change()), "delete link", "\(link)")
    }

    // MARK: Addresses, routes, neighbours

    package func addresses() throws(SystemError) -> [LinkAddress] {
        try dump(20 + 2, [UInt8](repeating: 0, count: 8), "addresses").filter { $0.type == 20 }.compactMap {
            LinkAddress($0.payload)
        }
    }

    package func add(_ address: LinkAddress) throws(SystemError) {
        try acknowledge(20, flags: 0x500, address.payload, "add address", "\(address.prefix)")
    }

    package func delete(_ address: LinkAddress) throws(SystemError) {
        try acknowledge(21, flags: 0, address.payload, "delete address", "\(address.prefix)")
    }

    package func routes() throws(SystemError) -> [Route] {
        try dump(24 + 2, [UInt8](repeating: 0, count: 12), "routes").filter { $0.type == 24 }.compactMap {
            Route($0.payload)
        }
    }

    /// Adds, or replaces one of the same destination.
    package func add(_ route: Route) throws(SystemError) {
        try acknowledge(24, flags: 0x500, route.payload, "add route to", Self.name(route))
    }

    package func delete(_ route: Route) throws(SystemError) {
        try acknowledge(25, flags: 0, route.payload, "delete route to", Self.name(route))
    }

    private static func name(_ route: Route) -> String {
        (route.destination.map { "\($0)" } ?? "default") + (route.gateway.map { " via \($0)" } ?? "")
    }

    package func neighbors() throws(SystemError) -> [Neighbor] {
        try dump(28 + 2, [UInt8](repeating: 0, count: 12), "neighbours").filter { $0.type == 28 }.compactMap {
            Neighbor($0.payload)
        }
    }

    package func add(_ neighbor: Neighbor) throws(SystemError) {
        try acknowledge(28, flags: 0x500, neighbor.payload, "add neighbour", "\(neighbor.address)")
    }

    // MARK: Traffic control

    /// Gives a link the queueing discipline that ingress rules belong to.
    /// - Throws: EEXIST when it has one: another sandbox's, or an administrator's.
    package func addIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(36, flags: 0x600, TrafficControl.ingress(link), "take packets of link", "\(link)")
    }

    /// Takes it away, and its rules.
    package func deleteIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(37, flags: 0, TrafficControl.ingress(link), "give back packets of link", "\(link)")
    }

    package func add(_ rule: IngressRule, on link: Int32) throws(SystemError) {
        try acknowledge(44, flags: 0x600, rule.payload(on: link), "add a rule for packets of link", "\(link)")
    }

    // MARK: The wire

    private func send(_ type: UInt16, _ flags: UInt16, _ payload: [UInt8]) throws(SystemError) -> UInt32 {
        sequence &+= 1
        let request = NetlinkMessage.request(type, flags: flags, sequence: sequence, payload)
        try check("ask", "rtnetlink") { Glibc.send(descriptor.raw, request, request.count, 0) }
        return sequence
    }

    private func receive() throws(SystemError) -> [NetlinkMessage] {
        let (bytes, count) = readBytes(upTo: 65536) { recv(descriptor.raw, $0.baseAddress, $0.count, 0) }
        try checkNegativeErrno("hear from", "rtnetlink", count)
        return NetlinkMessage.parse(bytes)
    }

    /// Asks for everything of a kind.
    private func dump(_ type: UInt16, _ payload: [UInt8], _ object: String) throws(SystemError) -> [NetlinkMessage] {
        let number = try send(type, 0x300, payload)
        var all: [NetlinkMessage] = []
        while true {
            for message in try receive() where message.sequence == number {
                if message.type == NetlinkMessage.done { return all }
                if let failure = message.failure {
                    throw SystemError("list", object, errno: failure.errno)
                }
                all.append(message)
            }
        }
    }

    /// Asks for a change and waits until it is done.
    private func acknowledge(
        _ type: UInt16, flags: UInt16, _ payload: [UInt8], _ operation: String, _ object: String
    ) throws(SystemError) {
        let number = try send(type, flags | 4, payload)
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

/// Hears of changes of the calling thread's network namespace.
package struct NetworkMonitor: ~Copyable, Sendable {
    /// RTMGRP_* (rtnetlink(7)).
    package struct Groups: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let links = Groups(rawValue: 0x1)
        package static let addresses = Groups(rawValue: 0x10 | 0x100)
        package static let routes = Groups(rawValue: 0x40 | 0x400)
    }

    private let descriptor: FileDescriptor

    package init(_ groups: Groups) throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "rtnetlink", clx_netlink_route(0, groups.rawValue)))
    }

    /// Blocks until something is said: true. False when the time is over, or `stop` can be read.
    package func wait(until deadline: ContinuousClock.Instant?, stop: Int32 = -1) throws(SystemError) -> Bool {
        var ready = [
            pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
        ]
        var limit = Int32(-1)
        if let deadline {
            let rest = (deadline - ContinuousClock.now) / .milliseconds(1)
            guard rest > 0 else { return false }
            limit = Int32(clamping: Int(rest.rounded(.up)))
        }
        guard try check("wait for", "the network", { poll(&ready, 2, limit) }) > 0, ready[1].revents == 0 else {
            return false
        }
        // Lost messages (ENOBUFS) say as much: look again.
        _ = readBytes(upTo: 65536) { recv(descriptor.raw, $0.baseAddress, $0.count, 0) }
        return true
    }
}
