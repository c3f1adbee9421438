import Glibc

/// A way that a route leads: a link, and a gateway on it.
package struct NextHop: Hashable, Sendable {
    package var link: Int32
    /// nil: destinations are on the link itself. An IPv4 route may have an IPv6 gateway.
    package var gateway: InternetAddress?
    /// Whether the gateway is on the link, whatever its address (`RouteValue.gatewayOnLink`).
    package var isOnLink: Bool
    /// The share of traffic among a route's next hops, from 1.
    package var weight: UInt16

    package init(link: Int32, gateway: InternetAddress? = nil, isOnLink: Bool = false, weight: UInt16 = 1) {
        (self.link, self.gateway, self.isOnLink, self.weight) = (link, gateway, isOnLink, weight)
    }

    var flags: UInt32 { isOnLink ? RouteValue.gatewayOnLink : 0 }

    static func gateway(in attributes: Attributes) -> InternetAddress? {
        if let bytes = attributes.bytes(RouteAttribute.gateway) { return InternetAddress(bytes: bytes) }
        // struct rtvia: a family of two bytes, then the address.
        return attributes.bytes(RouteAttribute.via).flatMap { InternetAddress(bytes: Array($0.dropFirst(2))) }
    }

    /// Writes the gateway for a route of a family.
    func putGateway(to writer: inout MessageWriter, isIPv6: Bool) {
        guard let gateway else { return }
        if gateway.isIPv6 == isIPv6 {
            writer.attribute(RouteAttribute.gateway, gateway.bytes)
        } else {
            var via = MessageWriter()
            via.put(UInt16(gateway.family))
            writer.attribute(RouteAttribute.via, via.bytes + gateway.bytes)
        }
    }

    // MARK: Several ones: RTA_MULTIPATH, a list of struct rtnexthop with attributes

    private static let headerSize = 8

    /// The next hops, each with its attributes.
    static func list(_ bytes: [UInt8]) -> [(hop: NextHop, attributes: Attributes)] {
        var hops: [(NextHop, Attributes)] = []
        var rest = bytes[...]
        while rest.count >= headerSize {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= headerSize, length <= rest.count else { break }
            let first = rest.startIndex
            let attributes = Attributes(rest[(first + headerSize)..<(first + length)])
            let hop = NextHop(
                link: rest.number(at: 4, as: Int32.self), gateway: gateway(in: attributes),
                isOnLink: UInt32(rest[first + 2]) & RouteValue.gatewayOnLink != 0,
                weight: UInt16(rest[first + 3]) + 1)
            hops.append((hop, attributes))
            rest = rest.dropFirst(aligned(length))
        }
        return hops
    }

    static func payload(_ hops: [NextHop], isIPv6: Bool) -> [UInt8] {
        var writer = MessageWriter()
        for hop in hops {
            var attributes = MessageWriter()
            hop.putGateway(to: &attributes, isIPv6: isIPv6)
            writer.put(UInt16(headerSize + attributes.bytes.count))
            writer.put(UInt8(truncatingIfNeeded: hop.flags))
            writer.put(UInt8(clamping: Int(hop.weight) - 1))
            writer.put(hop.link)
            writer.append(attributes)
        }
        return writer.bytes
    }
}

/// A next hop that routes name by its number (ip-nexthop(8), RTM_NEWNEXTHOP).
package struct NextHopObject: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        case hop(NextHop)
        /// Numbers of other objects, with the share of each.
        case group([Member])
        case blackhole
    }

    package struct Member: Hashable, Sendable {
        package let number: UInt32
        package let weight: UInt16
    }

    package let number: UInt32
    package let content: Content

    /// Size of struct nhmsg and of struct nexthop_grp.
    static let headerSize = 8
    private static let memberSize = 8

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize else { return nil }
        let attributes = Attributes(payload[Self.headerSize...])
        guard let number = attributes.number(NextHopAttribute.number) else { return nil }
        self.number = number
        if let group = attributes.bytes(NextHopAttribute.group) {
            content = .group(
                stride(from: 0, through: group.count - Self.memberSize, by: Self.memberSize).map {
                    Member(
                        number: group[...].number(at: $0, as: UInt32.self), weight: UInt16(group[$0 + 4]) + 1)
                })
        } else if attributes.bytes(NextHopAttribute.blackhole) != nil {
            content = .blackhole
        } else {
            content = .hop(
                NextHop(
                    link: Int32(bitPattern: attributes.number(NextHopAttribute.outputLink) ?? 0),
                    gateway: attributes.bytes(NextHopAttribute.gateway).flatMap(InternetAddress.init(bytes:)),
                    isOnLink: payload[...].number(at: 4, as: UInt32.self) & RouteValue.gatewayOnLink != 0))
        }
    }

    /// The plain next hops that an object leads to; nil for a blackhole, or an object that is missing.
    static func hops(_ number: UInt32, among objects: [UInt32: NextHopObject]) -> [NextHop]? {
        switch objects[number]?.content {
        case .hop(let hop): return [hop]
        case .group(let members):
            // The kernel has no groups of groups.
            return members.compactMap { member in
                guard case .hop(var hop) = objects[member.number]?.content else { return nil }
                hop.weight = member.weight
                return hop
            }
        case .blackhole, nil: return nil
        }
    }
}
