import Glibc

/// A route (RTM_NEWROUTE).
package struct Route: Equatable, Sendable {
    package var isIPv6: Bool
    /// nil: every destination.
    package var destination: Prefix?
    package var gateway: InternetAddress?
    package var source: InternetAddress?
    package var link: Int32
    /// One of `RouteScope`.
    package var scope: UInt8
    /// One of `RouteProtocol`.
    package var `protocol`: UInt8
    /// RTN_*, such as `RouteValue.unicast`.
    package var type: UInt8
    /// RTNH_F_*, such as `RouteValue.gatewayOnLink`.
    package var flags: UInt32
    package var table: UInt32
    package var priority: UInt32
    /// 0: the MTU of the link.
    package var mtu: UInt32

    /// Whether this is a unicast route of the main table, as `ip route` lists by default.
    package var isOrdinary: Bool { table == RouteValue.mainTable && type == RouteValue.unicast }

    package init(isIPv6: Bool, destination: Prefix?, gateway: InternetAddress?, link: Int32) {
        self.isIPv6 = isIPv6
        self.destination = destination
        self.gateway = gateway
        self.link = link
        (source, flags, priority, mtu) = (nil, 0, 0, 0)
        (scope, `protocol`) = (RouteScope.universe, RouteProtocol.boot)
        (type, table) = (RouteValue.unicast, RouteValue.mainTable)
    }

    /// Size of struct rtmsg.
    static let headerSize = 12

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else {
            return nil
        }
        isIPv6 = payload[0] == UInt8(AF_INET6)
        let attributes = Attributes(payload[Self.headerSize...])
        let length = Int(payload[1])
        if let bytes = attributes.bytes(RouteAttribute.destination) {
            guard let address = InternetAddress(bytes: bytes), let prefix = Prefix(address, length: length) else {
                return nil
            }
            destination = prefix
        } else {
            guard length == 0 else { return nil }
            destination = nil
        }
        gateway = attributes.bytes(RouteAttribute.gateway).flatMap(InternetAddress.init(bytes:))
        source = attributes.bytes(RouteAttribute.preferredSource).flatMap(InternetAddress.init(bytes:))
        link = Int32(bitPattern: attributes.number(RouteAttribute.outputLink) ?? 0)
        (`protocol`, scope, type) = (payload[5], payload[6], payload[7])
        flags = payload[...].number(at: 8, as: UInt32.self)
        table = attributes.number(RouteAttribute.table) ?? UInt32(payload[4])
        priority = attributes.number(RouteAttribute.priority) ?? 0
        mtu = attributes.nested(RouteAttribute.metrics)?.number(RouteAttribute.mtu) ?? 0
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        let family = UInt8(isIPv6 ? AF_INET6 : AF_INET)
        for field in [
            family, destination?.length ?? 0, 0, 0, UInt8(clamping: min(table, 255)), `protocol`, scope, type,
        ] { writer.put(field) }
        writer.put(flags)
        if let destination { writer.attribute(RouteAttribute.destination, destination.address.bytes) }
        if let gateway { writer.attribute(RouteAttribute.gateway, gateway.bytes) }
        if let source { writer.attribute(RouteAttribute.preferredSource, source.bytes) }
        writer.attribute(RouteAttribute.outputLink, UInt32(bitPattern: link))
        writer.attribute(RouteAttribute.table, table)
        if priority != 0 { writer.attribute(RouteAttribute.priority, priority) }
        if mtu != 0 { writer.nested(RouteAttribute.metrics) { $0.attribute(RouteAttribute.mtu, mtu) } }
        return writer.bytes
    }
}
