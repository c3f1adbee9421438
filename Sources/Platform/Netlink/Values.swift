import Glibc

/// A network link (rtnetlink(7), RTM_NEWLINK).
package struct Link: Equatable, Sendable {
    package var index: Int32
    package var name: String
    package var hardwareAddress: HardwareAddress
    package var mtu: UInt32
    /// IFF_* (netdevice(7)).
    package var flags: UInt32
    /// `veth`, `macvlan` …; empty for physical links.
    package var kind: String
    /// The link below, or a veth's other end; 0 for none.
    package var lower: Int32
    package var master: Int32

    package init(
        index: Int32, name: String, hardwareAddress: HardwareAddress, mtu: UInt32 = 1500, flags: UInt32 = 1,
        kind: String = "", lower: Int32 = 0, master: Int32 = 0
    ) {
        (self.index, self.name, self.hardwareAddress, self.mtu) = (index, name, hardwareAddress, mtu)
        (self.flags, self.kind, self.lower, self.master) = (flags, kind, lower, master)
    }

    package var isUp: Bool { flags & 1 != 0 }
    package var isLoopback: Bool { flags & 8 != 0 }

    init?(_ payload: [UInt8]) {
        // struct ifinfomsg
        guard payload.count >= 16 else { return nil }
        index = payload[...].number(at: 4, as: Int32.self)
        flags = payload[...].number(at: 8, as: UInt32.self)
        let attributes = Attributes(payload[16...])
        guard let name = attributes.text(3) else { return nil }
        self.name = name
        hardwareAddress = HardwareAddress(bytes: attributes.bytes(1) ?? [])
        mtu = attributes.number(4) ?? 0
        kind = attributes.nested(18)?.text(1) ?? ""
        lower = Int32(bitPattern: attributes.number(5) ?? 0)
        master = Int32(bitPattern: attributes.number(10) ?? 0)
    }
}

/// An address of a link (RTM_NEWADDR).
package struct LinkAddress: Equatable, Sendable {
    package var link: Int32
    package var prefix: Prefix
    /// RT_SCOPE_*.
    package var scope: UInt8

    package init(link: Int32, prefix: Prefix, scope: UInt8 = 0) {
        self.link = link
        self.prefix = prefix
        self.scope = scope
    }

    init?(_ payload: [UInt8]) {
        // struct ifaddrmsg
        guard payload.count >= 8 else { return nil }
        let attributes = Attributes(payload[8...])
        // Of a point-to-point link, LOCAL is ours and ADDRESS the other's.
        guard let bytes = attributes.bytes(2) ?? attributes.bytes(1), let address = InternetAddress(bytes: bytes),
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
        writer.attribute(2, prefix.address.bytes)
        writer.attribute(1, prefix.address.bytes)
        if !prefix.address.isIPv6, prefix.length < 31 {
            let host = UInt32.max >> UInt32(prefix.length)
            let number = prefix.address.bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } | host
            writer.attribute(4, withUnsafeBytes(of: number.bigEndian) { Array($0) })
        }
        // IFA_F_NODAD: nobody else in a guest's network has the address, and traffic need not wait for that to be seen.
        if prefix.address.isIPv6 { writer.attribute(8, UInt32(0x02)) }
        return writer.bytes
    }
}

/// A route (RTM_NEWROUTE).
package struct Route: Equatable, Sendable {
    package var isIPv6: Bool
    /// nil: every destination.
    package var destination: Prefix?
    package var gateway: InternetAddress?
    package var source: InternetAddress?
    package var link: Int32
    /// RT_SCOPE_*: 0 everywhere, 253 on this link, 254 on this machine.
    package var scope: UInt8
    /// RTPROT_*: 2 the kernel's own, 3 at boot, 4 an administrator's.
    package var `protocol`: UInt8
    /// RTN_*: 1 unicast.
    package var type: UInt8
    /// RTNH_F_*: 4 the gateway is on the link, whatever its address.
    package var flags: UInt32
    package var table: UInt32
    package var priority: UInt32
    /// 0: the link's own.
    package var mtu: UInt32

    /// Of the main table, to another machine or network: what an administrator means by a route.
    package var isOrdinary: Bool { table == 254 && type == 1 }

    package init(isIPv6: Bool, destination: Prefix?, gateway: InternetAddress?, link: Int32) {
        self.isIPv6 = isIPv6
        self.destination = destination
        self.gateway = gateway
        self.link = link
        (source, scope, `protocol`, type, flags, table, priority, mtu) = (nil, 0, 3, 1, 0, 254, 0, 0)
    }

    init?(_ payload: [UInt8]) {
        // struct rtmsg
        guard payload.count >= 12, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else { return nil }
        isIPv6 = payload[0] == UInt8(AF_INET6)
        let attributes = Attributes(payload[12...])
        let length = Int(payload[1])
        if let bytes = attributes.bytes(1) {
            guard let address = InternetAddress(bytes: bytes), let prefix = Prefix(address, length: length) else {
                return nil
            }
            destination = prefix
        } else {
            guard length == 0 else { return nil }
            destination = nil
        }
        gateway = attributes.bytes(5).flatMap(InternetAddress.init(bytes:))
        source = attributes.bytes(7).flatMap(InternetAddress.init(bytes:))
        link = Int32(bitPattern: attributes.number(4) ?? 0)
        (`protocol`, scope, type) = (payload[5], payload[6], payload[7])
        flags = payload[...].number(at: 8, as: UInt32.self)
        table = attributes.number(15) ?? UInt32(payload[4])
        priority = attributes.number(6) ?? 0
        mtu = attributes.nested(8)?.number(2) ?? 0
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        let family = UInt8(isIPv6 ? AF_INET6 : AF_INET)
        for field in [
            family, destination?.length ?? 0, 0, 0, UInt8(clamping: min(table, 255)), `protocol`, scope, type,
        ] { writer.put(field) }
        writer.put(flags)
        if let destination { writer.attribute(1, destination.address.bytes) }
        if let gateway { writer.attribute(5, gateway.bytes) }
        if let source { writer.attribute(7, source.bytes) }
        writer.attribute(4, UInt32(bitPattern: link))
        writer.attribute(15, table)
        if priority != 0 { writer.attribute(6, priority) }
        if mtu != 0 { writer.nested(8) { $0.attribute(2, mtu) } }
        return writer.bytes
    }
}

/// An entry of the neighbour table: ARP's and NDP's (RTM_NEWNEIGH).
package struct Neighbor: Equatable, Sendable {
    package var link: Int32
    package var address: InternetAddress
    package var hardwareAddress: HardwareAddress
    /// NUD_*: 0x80 is permanent.
    package var state: UInt16
    /// NTF_*.
    package var flags: UInt8

    /// Written down for good, not learnt.
    package var isPermanent: Bool { state == 0x80 }

    package init(
        link: Int32, address: InternetAddress, hardwareAddress: HardwareAddress, state: UInt16 = 0x80, flags: UInt8 = 0
    ) {
        self.link = link
        self.address = address
        self.hardwareAddress = hardwareAddress
        self.state = state
        self.flags = flags
    }

    init?(_ payload: [UInt8]) {
        // struct ndmsg
        guard payload.count >= 12 else { return nil }
        let attributes = Attributes(payload[12...])
        guard let address = attributes.bytes(1).flatMap(InternetAddress.init(bytes:)) else { return nil }
        self.address = address
        link = payload[...].number(at: 4, as: Int32.self)
        state = payload[...].number(at: 8, as: UInt16.self)
        flags = payload[10]
        hardwareAddress = HardwareAddress(bytes: attributes.bytes(2) ?? [])
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        for field in [address.family, 0, 0, 0] { writer.put(field) }
        writer.put(link)
        writer.put(state)
        writer.put(flags)
        writer.put(UInt8(0))
        writer.attribute(1, address.bytes)
        writer.attribute(2, hardwareAddress.bytes)
        return writer.bytes
    }
}
