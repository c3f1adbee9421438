import Glibc
import LinuxKernel

extension NetlinkSocket {
    /// All links of the network namespace.
    /// - Throws: `SystemError` with the kernel's errno; EAGAIN without an answer in time.
    package func links() throws(SystemError) -> [Link] {
        try dump(MessageType.getLink, header: Link.headerSize, "links", of: MessageType.newLink).compactMap {
            Link($0.payload)
        }
    }

    /// The link with a name.
    /// - Throws: `SystemError`: ENODEV without such a link; as `links`.
    package func link(named name: String) throws(SystemError) -> Link {
        guard let link = try links().first(where: { $0.name == name }) else {
            throw SystemError("find link", name, errno: ENODEV)
        }
        return link
    }

    /// Changes of a link; nil leaves a value as it is.
    package struct Change {
        package var name: String?
        package var mtu: UInt32?
        package var hardwareAddress: HardwareAddress?
        package var isUp: Bool?
        /// IFF_* bits to set beside IFF_UP.
        package var flags: UInt32 = 0
        /// `::` removes the token.
        package var token: InternetAddress?
        package var isWithoutLinkLocal: Bool?
        package init() {}
    }

    /// Changes the link with an index.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link, or EEXIST for a name that
    ///   another link has.
    package func change(_ link: Int32, _ change: Change) throws(SystemError) {
        try acknowledge(MessageType.newLink, flags: 0, Self.payload(link, change), "change link", "\(link)")
    }

    static func payload(_ link: Int32, _ change: Change) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(UInt32(0))
        writer.put(link)
        writer.put((change.isUp == true ? LinkFlags.up : 0) | change.flags)
        writer.put((change.isUp == nil ? 0 : LinkFlags.up) | change.flags)
        if let name = change.name { writer.attribute(LinkAttribute.name, name) }
        if let mtu = change.mtu { writer.attribute(LinkAttribute.mtu, mtu) }
        if let address = change.hardwareAddress { writer.attribute(LinkAttribute.hardwareAddress, address.bytes) }
        guard change.token != nil || change.isWithoutLinkLocal != nil else { return writer.bytes }
        writer.nested(LinkAttribute.families) { families in
            families.nested(UInt16(AF_INET6)) { family in
                if let token = change.token { family.attribute(LinkAttribute.token, token.bytes) }
                if let isWithout = change.isWithoutLinkLocal {
                    let mode = isWithout ? LinkAttribute.withoutLinkLocal : LinkAttribute.linkLocalByHardware
                    family.attribute(LinkAttribute.linkLocalMode, [mode])
                }
            }
        }
        return writer.bytes
    }

    /// Makes a link of a kind without parameters, such as `dummy` or `bridge`, or a `veth` whose other end is named
    /// `peer`.
    /// - Throws: `SystemError` with the kernel's errno, such as EEXIST for a name that a link has, or EOPNOTSUPP for a
    ///   kind that the kernel lacks.
    package func create(_ name: String, kind: String, peer: String? = nil) throws(SystemError) {
        try acknowledge(
            MessageType.newLink, flags: MessageFlags.createNew, Self.payload(name, kind: kind, peer: peer),
            "make \(kind) link", name)
    }

    /// Makes a macvtap on `lower` (ip-link(8)); in mode bridge, those of one link see each other.
    /// - Throws: `SystemError` with the kernel's errno, such as EEXIST for a name that a link has, or ENODEV without
    ///   `lower`.
    package func createMacvtap(_ name: String, on lower: Int32, address: HardwareAddress) throws(SystemError) {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(LinkAttribute.name, name)
        writer.attribute(LinkAttribute.hardwareAddress, address.bytes)
        writer.attribute(LinkAttribute.lower, UInt32(bitPattern: lower))
        writer.nested(LinkAttribute.info) { info in
            info.attribute(LinkAttribute.kind, "macvtap")
            info.nested(LinkAttribute.data) {
                $0.attribute(LinkAttribute.macvlanMode, LinkAttribute.macvlanBridge)
            }
        }
        try acknowledge(MessageType.newLink, flags: MessageFlags.createNew, writer.bytes, "make macvtap link", name)
    }

    static func payload(_ name: String, kind: String, peer: String?) -> [UInt8] {
        var writer = MessageWriter()
        for _ in 0..<4 { writer.put(UInt32(0)) }
        writer.attribute(LinkAttribute.name, name)
        writer.nested(LinkAttribute.info) { info in
            info.attribute(LinkAttribute.kind, kind)
            if let peer {
                info.nested(LinkAttribute.data) { data in
                    data.nested(LinkAttribute.vethPeer) { other in
                        for _ in 0..<4 { other.put(UInt32(0)) }
                        other.attribute(LinkAttribute.name, peer)
                    }
                }
            }
        }
        return writer.bytes
    }

    /// Deletes the link with an index.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link.
    package func delete(link: Int32) throws(SystemError) {
        try acknowledge(MessageType.deleteLink, flags: 0, Self.payload(link, Change()), "delete link", "\(link)")
    }
}
