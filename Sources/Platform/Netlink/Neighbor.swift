import Glibc

/// An entry of the neighbour table: ARP's and NDP's (RTM_NEWNEIGH).
package struct Neighbor: Hashable, Sendable {
    /// 0: every link, of a proxy entry.
    package var link: Int32
    package var address: InternetAddress
    /// Empty for a proxy entry.
    package var hardwareAddress: HardwareAddress
    /// NUD_*, such as `NeighborValue.permanent`.
    package var state: UInt16
    /// NTF_*, such as `NeighborValue.proxy`.
    package var flags: UInt8

    /// Whether it was set by hand and never expires.
    package var isPermanent: Bool { state == NeighborValue.permanent }
    /// Whether this machine answers for the address.
    package var isProxy: Bool { flags & NeighborValue.proxy != 0 }

    package init(
        link: Int32, address: InternetAddress, hardwareAddress: HardwareAddress,
        state: UInt16 = NeighborValue.permanent,
        flags: UInt8 = 0
    ) {
        self.link = link
        self.address = address
        self.hardwareAddress = hardwareAddress
        self.state = state
        self.flags = flags
    }

    /// Makes an entry by which this machine answers for an address.
    package init(proxyOn link: Int32, _ address: InternetAddress) {
        self.init(
            link: link, address: address, hardwareAddress: HardwareAddress(bytes: []), state: 0,
            flags: NeighborValue.proxy)
    }

    /// Size of struct ndmsg.
    static let headerSize = 12

    init?(_ payload: [UInt8]) {
        // A bridge's table of hardware addresses comes by the same messages.
        guard payload.count >= Self.headerSize, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else {
            return nil
        }
        let attributes = Attributes(payload[Self.headerSize...])
        guard let address = attributes.bytes(NeighborValue.address).flatMap(InternetAddress.init(bytes:)) else {
            return nil
        }
        self.address = address
        link = payload[...].number(at: 4, as: Int32.self)
        state = payload[...].number(at: 8, as: UInt16.self)
        flags = payload[10]
        hardwareAddress = HardwareAddress(bytes: attributes.bytes(NeighborValue.hardwareAddress) ?? [])
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        for field in [address.family, 0, 0, 0] { writer.put(field) }
        writer.put(link)
        writer.put(state)
        writer.put(flags)
        writer.put(UInt8(0))
        writer.attribute(NeighborValue.address, address.bytes)
        if !hardwareAddress.bytes.isEmpty {
            writer.attribute(NeighborValue.hardwareAddress, hardwareAddress.bytes)
        }
        return writer.bytes
    }

    /// The header that asks for all proxy entries.
    static var proxies: [UInt8] {
        var header = [UInt8](repeating: 0, count: headerSize)
        header[10] = NeighborValue.proxy
        return header
    }
}
