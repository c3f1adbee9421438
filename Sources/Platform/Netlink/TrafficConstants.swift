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
    /// TCA_BPF_FD, TCA_BPF_NAME and TCA_BPF_FLAGS.
    static let program: UInt16 = 6
    static let programName: UInt16 = 7
    static let programFlags: UInt16 = 8
}

enum TrafficValue {
    /// TC_H_INGRESS.
    static let ingressParent: UInt32 = 0xffff_fff1
    /// The handle of the ingress queueing discipline, ffff:.
    static let ingressHandle: UInt32 = 0xffff_0000
    /// TC_H_MIN_INGRESS below that handle: the ingress filters, of the disciplines `ingress` and `clsact` alike.
    static let ingressFilters: UInt32 = 0xffff_fff2
    /// The offset of the link in struct tc_mirred.
    static let mirredLinkOffset = 24
    /// TC_ACT_OK: the packet goes on to the network stack.
    static let accepted: UInt32 = 0
    /// TC_ACT_STOLEN: the packet is gone from here.
    static let stolen: UInt32 = 4
    /// TCA_EGRESS_REDIR and TCA_EGRESS_MIRROR.
    static let redirect: UInt32 = 1
    static let mirror: UInt32 = 2
    /// TCA_BPF_FLAG_ACT_DIRECT: the program's result is the verdict.
    static let programDecides: UInt32 = 1
    /// TC_U32_TERMINAL: a match ends the search.
    static let terminal: UInt8 = 1
}

/// ETH_P_* (linux/if_ether.h).
package enum EtherType {
    package static let all: UInt16 = 3
    package static let ipv4: UInt16 = 0x0800
    package static let arp: UInt16 = 0x0806
    package static let ipv6: UInt16 = 0x86dd
}
