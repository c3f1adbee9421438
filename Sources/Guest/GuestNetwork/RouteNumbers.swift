/// Numbers of the kernel's routing interface that the host's messages and the kernel share (rtnetlink(7)).
enum RouteNumbers {
    /// RT_SCOPE_LINK: valid on this link only.
    static let linkScope: UInt8 = 253
    /// RTPROT_KERNEL: the kernel made the route when an address was added.
    static let kernelProtocol: UInt8 = 2
    /// RTNH_F_ONLINK: the gateway is on this link, whatever the routes say.
    static let onLink: UInt32 = 4
    /// IFF_NOARP of an interface (netdevice(7)).
    static let noARP: UInt32 = 0x80
    /// NUD_PERMANENT: a neighbour that never becomes stale.
    static let permanent: UInt16 = 0x80
    /// Longest name of a link: IFNAMSIZ counts the NUL (netdevice(7)).
    static let maxLinkName = 15
    static let maxMTU: UInt64 = 65535
}
