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
    static let getNeighbor: UInt16 = 30
    static let newQueueingDiscipline: UInt16 = 36
    static let deleteQueueingDiscipline: UInt16 = 37
    static let newTrafficFilter: UInt16 = 44

    /// NLMSG_ERROR (netlink(7)): an error, or an acknowledgement with errno 0.
    static let error: UInt16 = 2
    /// NLMSG_DONE: the end of a list.
    static let done: UInt16 = 3
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
    /// Fails with EEXIST where there is such an object.
    static let createNew = create | exclusive
    static let createOrReplace = create | replace
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
    static let info: UInt16 = 18

    /// Inside `info`: IFLA_INFO_*.
    static let kind: UInt16 = 1
    static let data: UInt16 = 2

    /// Inside a veth's `data`: VETH_INFO_PEER, a whole link message.
    static let vethPeer: UInt16 = 1
    /// Inside a macvtap's `data`: IFLA_MACVLAN_MODE.
    static let macvlanMode: UInt16 = 1
    /// MACVLAN_MODE_BRIDGE: macvtaps of one link see each other.
    static let macvlanBridge: UInt32 = 4
}

/// Flags of a link (netdevice(7)): IFF_*.
package enum LinkFlags {
    package static let up: UInt32 = 0x1
    package static let loopback: UInt32 = 0x8
    package static let noARP: UInt32 = 0x80
}

/// Attributes of an address (linux/if_addr.h): IFA_*.
enum AddressAttribute {
    static let address: UInt16 = 1
    static let local: UInt16 = 2
    static let broadcast: UInt16 = 4
    static let flags: UInt16 = 8
    /// IFA_F_NODAD: use the address at once, without a search for duplicates.
    static let noDuplicateDetection: UInt32 = 0x02
}

/// Attributes of a route (linux/rtnetlink.h): RTA_*.
enum RouteAttribute {
    static let destination: UInt16 = 1
    static let outputLink: UInt16 = 4
    static let gateway: UInt16 = 5
    static let priority: UInt16 = 6
    static let preferredSource: UInt16 = 7
    static let metrics: UInt16 = 8
    static let table: UInt16 = 15
    /// Inside `metrics`: RTAX_MTU.
    static let mtu: UInt16 = 2
}

/// The distance to a destination (linux/rtnetlink.h): RT_SCOPE_*.
package enum RouteScope {
    package static let universe: UInt8 = 0
    package static let link: UInt8 = 253
    package static let host: UInt8 = 254
}

/// The origin of a route (linux/rtnetlink.h): RTPROT_*.
package enum RouteProtocol {
    package static let kernel: UInt8 = 2
    package static let boot: UInt8 = 3
    package static let administrator: UInt8 = 4
}

/// Other values of a route (linux/rtnetlink.h).
package enum RouteValue {
    /// RT_TABLE_MAIN.
    package static let mainTable: UInt32 = 254
    /// RTN_UNICAST: to another machine or network.
    package static let unicast: UInt8 = 1
    /// RTNH_F_ONLINK: the gateway is on the link, whatever its address.
    package static let gatewayOnLink: UInt32 = 4
}

/// Values of a neighbour (linux/neighbour.h).
package enum NeighborValue {
    /// NDA_DST and NDA_LLADDR.
    static let address: UInt16 = 1
    static let hardwareAddress: UInt16 = 2
    /// NUD_PERMANENT: set by hand, never expires.
    package static let permanent: UInt16 = 0x80
}

/// Traffic control (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h).
enum TrafficAttribute {
    /// TCA_KIND and TCA_OPTIONS.
    static let kind: UInt16 = 1
    static let options: UInt16 = 2
    /// TCA_U32_SEL and TCA_U32_ACT.
    static let selector: UInt16 = 5
    static let actions: UInt16 = 7
    /// The number of the first action in `actions`.
    static let firstAction: UInt16 = 1
    /// TCA_ACT_KIND and TCA_ACT_OPTIONS.
    static let actionKind: UInt16 = 1
    static let actionOptions: UInt16 = 2
    /// TCA_MIRRED_PARMS.
    static let mirredParameters: UInt16 = 2
}

enum TrafficValue {
    /// TC_H_INGRESS.
    static let ingressParent: UInt32 = 0xffff_fff1
    /// The handle of the ingress queueing discipline, ffff:.
    static let ingressHandle: UInt32 = 0xffff_0000
    /// TC_ACT_OK: the packet goes on to the network stack.
    static let accepted: UInt32 = 0
    /// TC_ACT_STOLEN: the packet is gone from here.
    static let stolen: UInt32 = 4
    /// TCA_EGRESS_REDIR and TCA_EGRESS_MIRROR.
    static let redirect: UInt32 = 1
    static let mirror: UInt32 = 2
    /// TC_U32_TERMINAL: a match ends the search.
    static let terminal: UInt8 = 1
}

/// ETH_P_* (linux/if_ether.h).
package enum EtherType {
    package static let all: UInt16 = 3
}
