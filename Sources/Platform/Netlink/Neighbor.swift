/// An entry of the neighbour table: ARP's and NDP's (RTM_NEWNEIGH).
package struct Neighbor: Equatable, Sendable {
    package var link: Int32
    package var address: InternetAddress
    package var hardwareAddress: HardwareAddress
    /// NUD_*, such as `NeighborValue.permanent`.
    package var state: UInt16
    /// NTF_*.
    package var flags: UInt8

    /// Whether it was set by hand and never expires.
    package var isPermanent: Bool { state == NeighborValue.permanent }

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

    /// Size of struct ndmsg.
    static let headerSize = 12

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize else { return nil }
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
        writer.attribute(NeighborValue.hardwareAddress, hardwareAddress.bytes)
        return writer.bytes
    }
}
