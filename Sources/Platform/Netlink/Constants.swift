/// Message types of rtnetlink(7) (linux/rtnetlink.h): RTM_*.
enum MessageType {
    static let newLink: UInt16 = 16
    static let deleteLink: UInt16 = 17
    static let getLink: UInt16 = 18
    static let newAddress: UInt16 = 20
    static let deleteAddress: UInt16 = 21
    static let getAddress: UInt16 = 22
    static let newRoute: UInt16 = 24
    static let deleteRoute: UInt16 = 25
    static let getRoute: UInt16 = 26
    static let newNeighbor: UInt16 = 28
    static let deleteNeighbor: UInt16 = 29
    static let getNeighbor: UInt16 = 30
    static let newRule: UInt16 = 32
    static let deleteRule: UInt16 = 33
    static let getRule: UInt16 = 34
    static let newQueueingDiscipline: UInt16 = 36
    static let deleteQueueingDiscipline: UInt16 = 37
    static let getQueueingDiscipline: UInt16 = 38
    static let newTrafficFilter: UInt16 = 44
    static let deleteTrafficFilter: UInt16 = 45
    static let getTrafficFilter: UInt16 = 46
    static let newNextHop: UInt16 = 104
    static let getNextHop: UInt16 = 106

    /// NLMSG_ERROR (netlink(7)): an error, or an acknowledgement with errno 0.
    static let error: UInt16 = 2
    /// NLMSG_DONE: the end of a list.
    static let done: UInt16 = 3
}

/// Numbers of the groups of messages that a socket can receive (linux/rtnetlink.h, RTNLGRP_*).
enum GroupNumber: UInt32 {
    case link = 1
    case neighbor = 3
    case ipv4Address = 5
    case ipv4Route = 7
    case ipv4Rule = 8
    case ipv6Address = 9
    case ipv6Route = 11
    case ipv6Rule = 19
    case nextHop = 32
}

/// Flags of a message's header (linux/netlink.h): NLM_F_*.
enum MessageFlags {
    static let request: UInt16 = 0x1
    static let acknowledge: UInt16 = 0x4
    /// NLM_F_ROOT and NLM_F_MATCH: every object of the kind.
    static let dump: UInt16 = 0x300
    private static let replace: UInt16 = 0x100
    private static let exclusive: UInt16 = 0x200
    private static let create: UInt16 = 0x400
    private static let append: UInt16 = 0x800
    /// Fails with EEXIST where there is such an object.
    static let createNew = create | exclusive
    static let createOrReplace = create | replace
    /// Adds a route beside those with the same destination and metric.
    static let createBeside = create | append
    /// In a list: the kernel's objects have changed meanwhile, and the list is not whole (NLM_F_DUMP_INTR).
    static let listChanged: UInt16 = 0x10
    /// In an answer: the request's body is left out (NLM_F_CAPPED).
    static let capped: UInt16 = 0x100
    /// In an answer: attributes follow, such as the kernel's explanation (NLM_F_ACK_TLVS).
    static let hasAttributes: UInt16 = 0x200
}

/// Bits of an attribute's type (linux/netlink.h).
enum AttributeType {
    /// NLA_F_NESTED: the attribute holds attributes.
    static let nested: UInt16 = 0x8000
    /// NLA_TYPE_MASK: the type without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    static let mask: UInt16 = 0x3fff
    /// NLMSGERR_ATTR_MSG: the kernel's explanation of an error.
    static let explanation: UInt16 = 1
}

/// Attributes of a link (linux/if_link.h): IFLA_*.
enum LinkAttribute {
    static let hardwareAddress: UInt16 = 1
    static let name: UInt16 = 3
    static let mtu: UInt16 = 4
    /// IFLA_LINK: the link below, or a veth's other end.
    static let lower: UInt16 = 5
    static let master: UInt16 = 10
    /// IFLA_LINK_NETNSID: `lower` is in another network namespace.
    static let lowerNamespace: UInt16 = 37
    static let info: UInt16 = 18
    /// IFLA_AF_SPEC, which holds an attribute for each family.
    static let families: UInt16 = 26

    /// Inside `info`: IFLA_INFO_*.
    static let kind: UInt16 = 1
    static let data: UInt16 = 2

    /// Inside the family AF_INET6: IFLA_INET6_TOKEN and IFLA_INET6_ADDR_GEN_MODE.
    static let token: UInt16 = 7
    static let linkLocalMode: UInt16 = 8
    /// IN6_ADDR_GEN_MODE_EUI64 and IN6_ADDR_GEN_MODE_NONE.
    static let linkLocalByHardware: UInt8 = 0
    static let withoutLinkLocal: UInt8 = 1

    /// Inside a veth's `data`: VETH_INFO_PEER, a whole link message.
    static let vethPeer: UInt16 = 1
    /// Inside a macvtap's `data`: IFLA_MACVLAN_MODE.
    static let macvlanMode: UInt16 = 1
    /// MACVLAN_MODE_BRIDGE: macvtaps of one link see each other.
    static let macvlanBridge: UInt32 = 4
}

/// Flags of a link (netdevice(7)): IFF_*.
/// ARPHRD_* (linux/if_arp.h).
package enum LinkType {
    package static let ethernet: UInt16 = 1
    /// ARPHRD_NONE: tun, WireGuard.
    package static let none: UInt16 = 0xfffe
    /// Point-to-point links, raw IP, IP tunnels of both versions, SIT, and GRE over both.
    static let withoutHeaders: Set<UInt16> = [512, 519, 768, 769, 776, 778, 823, none]
}

package enum LinkFlags {
    package static let up: UInt32 = 0x1
    package static let loopback: UInt32 = 0x8
    package static let noARP: UInt32 = 0x80
}
