import Glibc

/// A route (RTM_NEWROUTE).
package struct Route: Hashable, Sendable {
    package var isIPv6: Bool
    /// nil: every destination.
    package var destination: Prefix?
    /// The senders whose packets the route is for, of IPv6; nil: all.
    package var sourcePrefix: Prefix?
    /// One of `RouteType`.
    package var type: UInt8
    package var table: UInt32
    /// The metric: of routes to one destination, the lowest wins.
    package var priority: UInt32
    /// The type of service of packets that the route is for, of IPv4; 0: all.
    package var typeOfService: UInt8
    /// One of `RouteScope`.
    package var scope: UInt8
    /// One of `RouteProtocol`.
    package var `protocol`: UInt8
    /// The preferred source address.
    package var source: InternetAddress?
    /// Empty for the types that need no link. Several share the traffic.
    package var hops: [NextHop]
    /// Bytes by RTAX_*, such as `RouteMetric.mtu`.
    package var metrics: [UInt16: [UInt8]]
    /// The preference among default routers, of IPv6 (RFC 4191).
    package var preference: UInt8
    /// Whether packets get another header on the way (ip-route(8), encap), which this value doesn't hold.
    package var isEncapsulated: Bool
    /// The next hop object that the route names; 0: none, or its hops are known.
    var nextHopObject: UInt32

    package init(isIPv6: Bool, destination: Prefix?, hops: [NextHop], type: UInt8 = RouteType.unicast) {
        (self.isIPv6, self.destination, self.hops, self.type) = (isIPv6, destination, hops, type)
        (scope, `protocol`, table) = (RouteScope.universe, RouteProtocol.boot, RouteValue.mainTable)
        (sourcePrefix, source, metrics, preference) = (nil, nil, [:], 0)
        (priority, typeOfService, isEncapsulated, nextHopObject) = (0, 0, false, 0)
    }

    package init(isIPv6: Bool, destination: Prefix?, gateway: InternetAddress?, link: Int32) {
        self.init(isIPv6: isIPv6, destination: destination, hops: [NextHop(link: link, gateway: gateway)])
    }

    // MARK: Facts

    /// Whether this is a unicast route of the main table with one next hop, as Kata's own messages carry it.
    package var isOrdinary: Bool {
        table == RouteValue.mainTable && type == RouteType.unicast && hops.count == 1 && sourcePrefix == nil
            && typeOfService == 0
    }

    /// The link of a route with one next hop; 0 for others.
    package var link: Int32 { hops.count == 1 ? hops[0].link : 0 }
    /// The gateway of a route with one next hop.
    package var gateway: InternetAddress? { hops.count == 1 ? hops[0].gateway : nil }
    package var hasGateway: Bool { hops.contains { $0.gateway != nil } }

    /// 0: the MTU of the link.
    package var mtu: UInt32 {
        get { metrics[RouteMetric.mtu].flatMap { $0.count == 4 ? $0[...].number(at: 0, as: UInt32.self) : nil } ?? 0 }
        set {
            var writer = MessageWriter()
            writer.put(newValue)
            metrics[RouteMetric.mtu] = newValue == 0 ? nil : writer.bytes
        }
    }

    /// Whether each kernel makes the route by itself for a link that is up, or receives it from a router.
    ///
    /// A route to the network of an address is not among them: it can be moved or removed.
    /// - Parameter loopback: the index of the loopback link.
    package func isMadeByKernel(loopback: Int32) -> Bool {
        if isIPv6, `protocol` == RouteProtocol.routerAdvertisement { return true }
        if isIPv6, table == RouteValue.localTable, destination?.address.bytes.first == 0xff { return true }
        guard `protocol` == RouteProtocol.kernel else { return false }
        return type != RouteType.unicast || hops.contains { $0.link == loopback } || destination == Self.linkLocal
    }

    private static let linkLocal = Prefix("fe80::/64")

    /// The values by which the kernel tells routes apart.
    package struct Key: Hashable, Sendable {
        let isIPv6: Bool
        let table: UInt32
        let destination: Prefix?
        let sourcePrefix: Prefix?
        let priority: UInt32
        let typeOfService: UInt8
    }

    package var key: Key {
        Key(
            isIPv6: isIPv6, table: table, destination: destination, sourcePrefix: sourcePrefix, priority: priority,
            typeOfService: typeOfService)
    }

    // MARK: The wire

    /// Size of struct rtmsg.
    static let headerSize = 12

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else {
            return nil
        }
        // An exception that the kernel has learned for one destination, with its own time to live.
        guard payload[...].number(at: 8, as: UInt32.self) & RouteValue.cloned == 0 else { return nil }
        isIPv6 = payload[0] == UInt8(AF_INET6)
        let attributes = Attributes(payload[Self.headerSize...])
        guard let destination = Self.prefix(attributes.bytes(RouteAttribute.destination), Int(payload[1])),
            let sourcePrefix = Self.prefix(attributes.bytes(RouteAttribute.sourcePrefix), Int(payload[2]))
        else { return nil }
        (self.destination, self.sourcePrefix) = (destination, sourcePrefix)
        (typeOfService, `protocol`, scope, type) = (payload[3], payload[5], payload[6], payload[7])
        table = attributes.number(RouteAttribute.table) ?? UInt32(payload[4])
        priority = attributes.number(RouteAttribute.priority) ?? 0
        source = attributes.bytes(RouteAttribute.preferredSource).flatMap(InternetAddress.init(bytes:))
        metrics = attributes.nested(RouteAttribute.metrics)?.all ?? [:]
        preference = attributes.bytes(RouteAttribute.preference)?.first ?? 0
        nextHopObject = 0
        let several = attributes.bytes(RouteAttribute.multipath).map(NextHop.list)
        isEncapsulated = ([attributes] + (several ?? []).map(\.attributes)).contains {
            $0.bytes(RouteAttribute.encapsulation) != nil
        }
        // An IPv6 route without a link names the loopback (rt6_fill_node).
        if RouteType.withoutLink.contains(type) {
            hops = []
        } else if let several {
            hops = several.map(\.hop)
        } else if let link = attributes.number(RouteAttribute.outputLink) {
            let flags = payload[...].number(at: 8, as: UInt32.self)
            hops = [
                NextHop(
                    link: Int32(bitPattern: link), gateway: NextHop.gateway(in: attributes),
                    isOnLink: flags & RouteValue.gatewayOnLink != 0)
            ]
        } else {
            hops = []
            nextHopObject = attributes.number(RouteAttribute.nextHopObject) ?? 0
        }
    }

    /// A prefix from the wire; the inner nil is every address, the outer one nonsense.
    private static func prefix(_ bytes: [UInt8]?, _ length: Int) -> Prefix?? {
        guard let bytes else { return length == 0 ? .some(nil) : nil }
        guard let prefix = InternetAddress(bytes: bytes).flatMap({ Prefix($0, length: length) }) else { return nil }
        return .some(length == 0 ? nil : prefix)
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        let family = UInt8(isIPv6 ? AF_INET6 : AF_INET)
        for field in [
            family, destination?.length ?? 0, sourcePrefix?.length ?? 0, typeOfService,
            UInt8(clamping: min(table, 255)),
            `protocol`, scope, type,
        ] { writer.put(field) }
        writer.put(hops.count == 1 ? hops[0].flags : 0)
        if let destination { writer.attribute(RouteAttribute.destination, destination.address.bytes) }
        if let sourcePrefix { writer.attribute(RouteAttribute.sourcePrefix, sourcePrefix.address.bytes) }
        if hops.count == 1 { hops[0].putGateway(to: &writer, isIPv6: isIPv6) }
        if let source { writer.attribute(RouteAttribute.preferredSource, source.bytes) }
        if hops.count == 1 { writer.attribute(RouteAttribute.outputLink, UInt32(bitPattern: hops[0].link)) }
        if hops.count > 1 { writer.attribute(RouteAttribute.multipath, NextHop.payload(hops, isIPv6: isIPv6)) }
        writer.attribute(RouteAttribute.table, table)
        if priority != 0 { writer.attribute(RouteAttribute.priority, priority) }
        if preference != 0 { writer.attribute(RouteAttribute.preference, [preference]) }
        if !metrics.isEmpty {
            writer.nested(RouteAttribute.metrics) { nested in
                for (type, bytes) in metrics.sorted(by: { $0.key < $1.key }) { nested.attribute(type, bytes) }
            }
        }
        return writer.bytes
    }

    /// The route with the next hops of the object that it names.
    func resolved(among objects: [UInt32: NextHopObject]) -> Route {
        guard nextHopObject != 0 else { return self }
        var route = self
        route.nextHopObject = 0
        if let hops = NextHopObject.hops(nextHopObject, among: objects), !hops.isEmpty {
            route.hops = hops
        } else {
            route.type = RouteType.blackhole
        }
        return route
    }
}

extension Route: CustomStringConvertible {
    /// The route in the words of ip-route(8), without links.
    package var description: String {
        var words = type == RouteType.unicast ? "" : RouteType.name(type) + " "
        words += destination.map { "\($0)" } ?? (isIPv6 ? "default (IPv6)" : "default")
        if let sourcePrefix { words += " from \(sourcePrefix)" }
        for hop in hops { if let gateway = hop.gateway { words += " via \(gateway)" } }
        if table != RouteValue.mainTable { words += " table \(table)" }
        if priority != 0 { words += " metric \(priority)" }
        return words
    }
}
