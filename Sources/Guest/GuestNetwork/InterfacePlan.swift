import AgentAPI
import Netlink
import TTRPC

/// An interface of the host's message, read and checked.
struct InterfacePlan: Equatable {
    var name: String
    var hardwareAddress: HardwareAddress
    var mtu: UInt32?
    var addresses: [Prefix]
    /// IFF_NOARP, where the message has it.
    var flags: UInt32

    init(_ interface: Types_Interface) throws(RPCError) {
        guard let hardware = HardwareAddress(interface.hwAddr) else {
            throw RPCError(.invalidArgument, "interface.hwAddr: \"\(interface.hwAddr)\" is no hardware address")
        }
        hardwareAddress = hardware
        // IFNAMSIZ counts the NUL (netdevice(7)).
        guard (1...15).contains(interface.name.utf8.count), !interface.name.contains(where: { "/ :".contains($0) })
        else {
            throw RPCError(.invalidArgument, "interface.name: \"\(interface.name)\" is no name of a link")
        }
        name = interface.name
        guard interface.mtu <= 65535 else {
            throw RPCError(.invalidArgument, "interface.mtu: \(interface.mtu) is above 65535")
        }
        mtu = interface.mtu == 0 ? nil : UInt32(interface.mtu)
        addresses = []
        for (index, wire) in interface.ipaddresses.enumerated() {
            guard let address = InternetAddress(wire.address), let length = Int(wire.mask),
                let prefix = Prefix(address, length: length)
            else {
                throw RPCError(
                    .invalidArgument,
                    "interface.IPAddresses[\(index)]: \"\(wire.address)/\(wire.mask)\" is no address with the length of its network"
                )
            }
            addresses.append(prefix)
        }
        flags = interface.rawFlags & 0x80
    }
}

/// A route of the host's message, read and checked.
struct RoutePlan: Equatable {
    let route: Route

    init(_ wire: Types_Route, index: Int, links: [Link]) throws(RPCError) {
        let field = "routes[\(index)]"
        guard let link = links.first(where: { $0.name == wire.device }) else {
            throw RPCError(.invalidArgument, "\(field).device: there is no link \"\(wire.device)\" in the guest")
        }
        var destination: Prefix?
        if !wire.dest.isEmpty, wire.dest != "default" {
            guard let prefix = Prefix(wire.dest) else {
                throw RPCError(.invalidArgument, "\(field).dest: \"\(wire.dest)\" is no network such as 10.0.0.0/8")
            }
            // 0.0.0.0/0 and ::/0 are every destination too.
            destination = prefix.length == 0 ? nil : prefix
        }
        func address(_ name: String, _ text: String) throws(RPCError) -> InternetAddress? {
            guard !text.isEmpty else { return nil }
            guard let address = InternetAddress(text) else {
                throw RPCError(.invalidArgument, "\(field).\(name): \"\(text)\" is no address")
            }
            return address
        }
        let gateway = try address("gateway", wire.gateway)
        let source = try address("source", wire.source)
        let isIPv6 = destination?.address.isIPv6 ?? gateway?.isIPv6 ?? source?.isIPv6 ?? (wire.family == .v6)
        for (name, given) in [("gateway", gateway), ("source", source)]
        where given.map({ $0.isIPv6 != isIPv6 }) ?? false {
            throw RPCError(.invalidArgument, "\(field).\(name): another family of addresses than the destination's")
        }
        var route = Route(isIPv6: isIPv6, destination: destination, gateway: gateway, link: link.index)
        route.source = source
        route.scope = gateway == nil && wire.scope == 0 && !isIPv6 ? 253 : UInt8(clamping: wire.scope)
        route.flags = wire.flags & 4
        route.mtu = wire.mtu
        self.route = route
    }

    /// Routes on the link come first: a gateway must be reachable when its route is added.
    static func ordered(_ plans: [RoutePlan]) -> [RoutePlan] {
        plans.filter { $0.route.gateway == nil } + plans.filter { $0.route.gateway != nil }
    }
}
