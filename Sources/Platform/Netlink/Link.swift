import Glibc

/// A network link (rtnetlink(7), RTM_NEWLINK).
package struct Link: Equatable, Sendable {
    package var index: Int32
    package var name: String
    package var hardwareAddress: HardwareAddress
    package var mtu: UInt32
    /// IFF_* (netdevice(7)).
    package var flags: UInt32
    /// `veth`, `macvlan` …; empty for a physical link.
    package var kind: String
    /// The link below, or a veth's other end; 0 for none, or one of another namespace.
    package var lower: Int32
    /// Whether the link below, or a tunnel's own end, is in another network namespace (IFLA_LINK_NETNSID).
    package var isBasedElsewhere = false
    package var master: Int32
    /// The interface identifier of addresses from routers' advertisements (ip-token(8)); nil: the kernel's choice.
    package var token: InternetAddress?
    /// Whether the kernel makes no IPv6 link-local address for the link.
    package var isWithoutLinkLocal = false

    package init(
        index: Int32, name: String, hardwareAddress: HardwareAddress, mtu: UInt32 = 1500, flags: UInt32 = LinkFlags.up,
        kind: String = "", lower: Int32 = 0, master: Int32 = 0
    ) {
        (self.index, self.name, self.hardwareAddress, self.mtu) = (index, name, hardwareAddress, mtu)
        (self.flags, self.kind, self.lower, self.master) = (flags, kind, lower, master)
    }

    /// ARPHRD_* (linux/if_arp.h).
    package var type = LinkType.ethernet
    package var isUp: Bool { flags & LinkFlags.up != 0 }
    /// Whether it carries Ethernet frames: otherwise it has no Ethernet address.
    package var hasFrames: Bool { hardwareAddress.bytes.count == HardwareAddress.ethernetLength }
    /// Whether it carries IP packets without any header before them: those links for which mirred leaves the header out
    /// (dev_is_mac_header_xmit in the kernel).
    package var hasBarePackets: Bool { LinkType.withoutHeaders.contains(type) }
    package var isLoopback: Bool { flags & LinkFlags.loopback != 0 }

    /// Size of struct ifinfomsg.
    static let headerSize = 16

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize else { return nil }
        type = payload[...].number(at: 2, as: UInt16.self)
        index = payload[...].number(at: 4, as: Int32.self)
        flags = payload[...].number(at: 8, as: UInt32.self)
        let attributes = Attributes(payload[Self.headerSize...])
        guard let name = attributes.text(LinkAttribute.name) else { return nil }
        self.name = name
        hardwareAddress = HardwareAddress(bytes: attributes.bytes(LinkAttribute.hardwareAddress) ?? [])
        mtu = attributes.number(LinkAttribute.mtu) ?? 0
        kind = attributes.nested(LinkAttribute.info)?.text(LinkAttribute.kind) ?? ""
        let isElsewhere = attributes.bytes(LinkAttribute.lowerNamespace) != nil
        isBasedElsewhere = isElsewhere
        lower = isElsewhere ? 0 : Int32(bitPattern: attributes.number(LinkAttribute.lower) ?? 0)
        master = Int32(bitPattern: attributes.number(LinkAttribute.master) ?? 0)
        let family = attributes.nested(LinkAttribute.families)?.nested(UInt16(AF_INET6))
        token = family?.bytes(LinkAttribute.token).flatMap(InternetAddress.init(bytes:))
        if token?.bytes.allSatisfy({ $0 == 0 }) == true { token = nil }
        isWithoutLinkLocal = family?.bytes(LinkAttribute.linkLocalMode)?.first == LinkAttribute.withoutLinkLocal
    }
}

extension Sequence<Link> {
    /// The links' names by their indices.
    package var names: [Int32: String] { Dictionary(map { ($0.index, $0.name) }) { first, _ in first } }
}
