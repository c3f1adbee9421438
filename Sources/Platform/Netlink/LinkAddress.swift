/// An address of a link (RTM_NEWADDR).
package struct LinkAddress: Hashable, Sendable {
    package var link: Int32
    /// The address, and the length of its network's prefix or of the peer's.
    package var prefix: Prefix
    /// The other end of a point-to-point link; nil where there is none.
    package var peer: InternetAddress?
    package var broadcast: InternetAddress?
    /// A name for the address alone (`eth0:1`), of IPv4; nil where it is the link's.
    package var label: String?
    /// One of `RouteScope`.
    package var scope: UInt8
    /// Those of `AddressFlags` that are configured.
    package var flags: UInt32
    /// The metric of the route to the address's network; 0: the kernel's choice.
    package var priority: UInt32
    /// Whether the kernel says that it has made the address itself.
    package var isKernels: Bool

    /// Makes an address with the broadcast address of its network.
    package init(link: Int32, prefix: Prefix, scope: UInt8 = RouteScope.universe) {
        self.link = link
        self.prefix = prefix
        self.scope = scope
        (peer, label, flags, priority, isKernels) = (nil, nil, 0, 0, false)
        broadcast = prefix.broadcast
    }

    /// Whether the kernel has made the address itself: the loopback's, and IPv6 link-local ones.
    ///
    /// Kernels before 5.18 don't say so. There, a link-local address that follows from the hardware address is theirs.
    package func isMadeByKernel(for link: Link) -> Bool {
        if isKernels { return true }
        if link.isLoopback { return Self.loopback.contains(prefix) }
        return prefix.address.isIPv6 && scope == RouteScope.link && prefix.address == link.hardwareAddress.linkLocal
    }

    private static let loopback = ["127.0.0.1/8", "::1/128"].compactMap { Prefix($0) }

    /// The address without a label that is its link's name: the kernel gives that to each IPv4 address.
    package func withoutLabel(of link: String?) -> LinkAddress {
        var address = self
        if label == link { address.label = nil }
        return address
    }

    /// Size of struct ifaddrmsg.
    static let headerSize = 8

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize else { return nil }
        let attributes = Attributes(payload[Self.headerSize...])
        // On a point-to-point link, IFA_LOCAL is this end and IFA_ADDRESS the other one.
        let other = attributes.bytes(AddressAttribute.address).flatMap(InternetAddress.init(bytes:))
        let own = attributes.bytes(AddressAttribute.local).flatMap(InternetAddress.init(bytes:))
        guard let address = own ?? other, let prefix = Prefix(address, length: Int(payload[1])) else { return nil }
        self.prefix = prefix
        peer = other == address || other?.isIPv6 != address.isIPv6 ? nil : other
        broadcast = attributes.bytes(AddressAttribute.broadcast).flatMap(InternetAddress.init(bytes:))
        label = attributes.text(AddressAttribute.label)
        flags = (attributes.number(AddressAttribute.flags) ?? 0) & AddressFlags.configured
        priority = attributes.number(AddressAttribute.priority) ?? 0
        let origin = attributes.bytes(AddressAttribute.protocol)?.first
        isKernels = origin == AddressProtocol.kernelLoopback || origin == AddressProtocol.kernelLinkLocal
        scope = payload[3]
        link = payload[...].number(at: 4, as: Int32.self)
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        for field in [prefix.address.family, prefix.length, 0, scope] { writer.put(field) }
        writer.put(link)
        writer.attribute(AddressAttribute.local, prefix.address.bytes)
        writer.attribute(AddressAttribute.address, (peer ?? prefix.address).bytes)
        if let broadcast { writer.attribute(AddressAttribute.broadcast, broadcast.bytes) }
        if let label { writer.attribute(AddressAttribute.label, label) }
        // The manager gave the address to this guest alone, so traffic need not wait for duplicate address detection.
        let flags = self.flags | (prefix.address.isIPv6 ? AddressFlags.noDuplicateDetection : 0)
        if flags != 0 { writer.attribute(AddressAttribute.flags, flags) }
        if priority != 0 { writer.attribute(AddressAttribute.priority, priority) }
        return writer.bytes
    }
}

extension Prefix {
    /// The broadcast address of an IPv4 network; nil where the network has none (RFC 3021).
    fileprivate var broadcast: InternetAddress? {
        guard !address.isIPv6, length < 31 else { return nil }
        let number = address.bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } | UInt32.max >> UInt32(length)
        return InternetAddress(bytes: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) })
    }
}

extension HardwareAddress {
    /// The IPv6 link-local address that follows from an Ethernet address (RFC 4291, appendix A).
    fileprivate var linkLocal: InternetAddress? {
        guard bytes.count == 6 else { return nil }
        return InternetAddress(
            bytes: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, bytes[0] ^ 2] + bytes[1...2] + [0xff, 0xfe] + bytes[3...5])
    }
}
