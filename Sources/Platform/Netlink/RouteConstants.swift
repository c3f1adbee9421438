/// Attributes of an address (linux/if_addr.h): IFA_*.
enum AddressAttribute {
    static let address: UInt16 = 1
    static let local: UInt16 = 2
    static let label: UInt16 = 3
    static let broadcast: UInt16 = 4
    static let flags: UInt16 = 8
    /// IFA_RT_PRIORITY: the metric of the route that the kernel makes for the address.
    static let priority: UInt16 = 9
    static let `protocol`: UInt16 = 11
}

/// Flags of an address (linux/if_addr.h): IFA_F_*.
package enum AddressFlags {
    /// The address is used at once, without a search for duplicates.
    package static let noDuplicateDetection: UInt32 = 0x02
    package static let homeAddress: UInt32 = 0x10
    /// The kernel makes no route to the address's network.
    package static let noPrefixRoute: UInt32 = 0x200
    package static let joinMulticast: UInt32 = 0x400
    /// The flags that are configured. The others are states of the kernel.
    static let configured = homeAddress | noPrefixRoute | joinMulticast
}

/// The origin of an address (linux/if_addr.h): IFAPROT_*.
enum AddressProtocol {
    static let kernelLoopback: UInt8 = 1
    static let kernelLinkLocal: UInt8 = 3
}

/// Attributes of a route (linux/rtnetlink.h): RTA_*.
enum RouteAttribute {
    static let destination: UInt16 = 1
    static let sourcePrefix: UInt16 = 2
    static let outputLink: UInt16 = 4
    static let gateway: UInt16 = 5
    static let priority: UInt16 = 6
    static let preferredSource: UInt16 = 7
    static let metrics: UInt16 = 8
    static let multipath: UInt16 = 9
    static let table: UInt16 = 15
    /// A gateway of the other family: struct rtvia.
    static let via: UInt16 = 18
    static let preference: UInt16 = 20
    static let encapsulation: UInt16 = 22
    static let nextHopObject: UInt16 = 30
}

/// Values inside a route's metrics (linux/rtnetlink.h): RTAX_*.
package enum RouteMetric {
    package static let mtu: UInt16 = 2
}

/// Attributes of a next hop object (linux/nexthop.h): NHA_*.
enum NextHopAttribute {
    static let number: UInt16 = 1
    static let group: UInt16 = 2
    static let blackhole: UInt16 = 4
    static let outputLink: UInt16 = 5
    static let gateway: UInt16 = 6
    static let encapsulation: UInt16 = 8
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
    /// Received from an IPv6 router.
    package static let routerAdvertisement: UInt8 = 9
}

/// Kinds of routes (linux/rtnetlink.h): RTN_*.
package enum RouteType {
    /// Sends them to another machine or network.
    package static let unicast: UInt8 = 1
    /// Receives them.
    package static let local: UInt8 = 2
    /// Drops them.
    package static let blackhole: UInt8 = 6
    /// Drops them, and tells the sender that the destination is unreachable.
    package static let unreachable: UInt8 = 7
    /// Drops them, and tells the sender that this is forbidden.
    package static let prohibit: UInt8 = 8
    /// Lets the next rule decide.
    package static let `throw`: UInt8 = 9

    /// The types that need no link.
    static let withoutLink: Set<UInt8> = [blackhole, unreachable, prohibit, `throw`]

    /// The word of ip-route(8).
    static func name(_ type: UInt8) -> String {
        switch type {
        case unicast: "unicast"
        case local: "local"
        case blackhole: "blackhole"
        case unreachable: "unreachable"
        case prohibit: "prohibit"
        case `throw`: "throw"
        default: "type \(type)"
        }
    }
}

/// Other values of a route (linux/rtnetlink.h).
package enum RouteValue {
    /// RT_TABLE_MAIN and RT_TABLE_LOCAL.
    package static let mainTable: UInt32 = 254
    package static let localTable: UInt32 = 255
    /// RT_TABLE_DEFAULT.
    package static let defaultTable: UInt32 = 253
    /// RTNH_F_ONLINK: the gateway is on the link, whatever its address.
    package static let gatewayOnLink: UInt32 = 4
    /// RTM_F_CLONED.
    static let cloned: UInt32 = 0x200
    /// IP6_RT_PRIO_USER: the metric of an IPv6 route that was added without one (net/ipv6_route.h).
    package static let ipv6Priority: UInt32 = 1024
}

/// Attributes of a rule (linux/fib_rules.h): FRA_*.
enum RuleAttribute {
    static let destination: UInt16 = 1
    static let source: UInt16 = 2
    static let inputLink: UInt16 = 3
    static let priority: UInt16 = 6
    static let suppressedPrefixLength: UInt16 = 14
    static let table: UInt16 = 15
    static let outputLink: UInt16 = 17
    static let padding: UInt16 = 18
    static let `protocol`: UInt16 = 21
}

/// Values of a rule (linux/fib_rules.h).
enum RuleValue {
    /// FR_ACT_TO_TBL: look in the table.
    static let lookUp: UInt8 = 1
    /// FIB_RULE_INVERT: packets that don't match. The other flags are states of the kernel.
    static let inverted: UInt32 = 2
    /// The default rules' priorities: tables local, main and default (fib_default_rules_init).
    static let localPriority: UInt32 = 0
    static let mainPriority: UInt32 = 32766
    static let defaultPriority: UInt32 = 32767
    /// No prefix length is suppressed.
    static let suppressesNone: UInt32 = 0xffff_ffff
}

/// Values of a neighbour (linux/neighbour.h).
package enum NeighborValue {
    /// NDA_DST and NDA_LLADDR.
    static let address: UInt16 = 1
    static let hardwareAddress: UInt16 = 2
    /// NUD_PERMANENT: set by hand, never expires.
    package static let permanent: UInt16 = 0x80
    /// NTF_PROXY: this machine answers for the address.
    package static let proxy: UInt8 = 0x08
}
