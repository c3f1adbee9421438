/// An address of a link (RTM_NEWADDR).
package struct LinkAddress: Equatable, Sendable {
    package var link: Int32
    package var prefix: Prefix
    /// One of `RouteScope`.
    package var scope: UInt8

    package init(link: Int32, prefix: Prefix, scope: UInt8 = RouteScope.universe) {
        self.link = link
        self.prefix = prefix
        self.scope = scope
    }

    /// Size of struct ifaddrmsg.
    static let headerSize = 8

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize else { return nil }
        let attributes = Attributes(payload[Self.headerSize...])
        // On a point-to-point link, IFA_LOCAL is this end and IFA_ADDRESS the other one.
        guard let bytes = attributes.bytes(AddressAttribute.local) ?? attributes.bytes(AddressAttribute.address),
            let address = InternetAddress(bytes: bytes),
            let prefix = Prefix(address, length: Int(payload[1]))
        else { return nil }
        self.prefix = prefix
        scope = payload[3]
        link = payload[...].number(at: 4, as: Int32.self)
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        for field in [prefix.address.family, prefix.length, 0, scope] { writer.put(field) }
        writer.put(link)
        writer.attribute(AddressAttribute.local, prefix.address.bytes)
        writer.attribute(AddressAttribute.address, prefix.address.bytes)
        if !prefix.address.isIPv6, prefix.length < 31 {
            let host = UInt32.max >> UInt32(prefix.length)
            let number = prefix.address.bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } | host
            unsafe writer.attribute(
                AddressAttribute.broadcast, withUnsafeBytes(of: number.bigEndian) { unsafe Array($0) })
        }
        // The manager gave the address to this guest alone, so traffic need not wait for duplicate address detection.
        if prefix.address.isIPv6 {
            writer.attribute(AddressAttribute.flags, AddressAttribute.noDuplicateDetection)
        }
        return writer.bytes
    }
}
