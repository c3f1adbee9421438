import AgentAPI
import Netlink
import TTRPC

/// An interface from the host's message, decoded and checked.
struct InterfacePlan: Equatable {
    var name: String
    var hardwareAddress: HardwareAddress
    var mtu: UInt32?
    var addresses: [Prefix]
    /// IFF_NOARP if the message has it; other flags are ignored.
    var flags: UInt32

    /// The maximum length of a link's name: IFNAMSIZ counts the NUL (netdevice(7)).
    private static let maxLinkName = 15
    private static let maxMTU: UInt64 = 65535

    /// - Throws: `invalidArgument` with the field that is wrong.
    init(_ interface: Types_Interface) throws(RPCError) {
        guard let hardware = HardwareAddress(interface.hwAddr) else {
            throw RPCError(.invalidArgument, "interface.hwAddr: \"\(interface.hwAddr)\" is no hardware address")
        }
        hardwareAddress = hardware
        guard (1...Self.maxLinkName).contains(interface.name.utf8.count),
            !interface.name.contains(where: { "/ :".contains($0) })
        else {
            throw RPCError(.invalidArgument, "interface.name: \"\(interface.name)\" is no name of a link")
        }
        name = interface.name
        guard interface.mtu <= Self.maxMTU else {
            throw RPCError(.invalidArgument, "interface.mtu: \(interface.mtu) is above \(Self.maxMTU)")
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
        flags = interface.rawFlags & LinkFlags.noARP
    }
}
