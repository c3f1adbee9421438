import AgentAPI
import LinuxKernel
import Netlink
import TTRPC

/// An interface from the host's message, decoded and checked.
struct InterfacePlan: Equatable {
    var name: String
    var hardwareAddress: HardwareAddress
    /// The card's place on the guest's PCI buses; nil: the hardware address tells which link is meant.
    var place: PCIPath?
    var mtu: UInt32?
    var addresses: [Prefix]
    /// The addresses with all that the kernel knows of them; their link is not set.
    var details: [LinkAddress]
    /// IFF_NOARP if the message has it; other flags are ignored.
    var flags: UInt32
    /// The IPv6 token; nil: none.
    var token: InternetAddress?
    var isWithoutLinkLocal: Bool
    /// Settings and their values (`LinkSettings`).
    var settings: [String: String]

    /// The maximum length of a link's name: IFNAMSIZ counts the NUL (netdevice(7)).
    private static let maxLinkName = 15
    private static let maxMTU: UInt64 = 65535

    /// - Parameter field: the interface's place in the message, for errors.
    /// - Throws: `invalidArgument` with the field that is wrong.
    init(_ interface: Types_Interface, field: String = "interface") throws(RPCError) {
        guard let hardware = HardwareAddress(interface.hwAddr) else {
            throw RPCError(.invalidArgument, "\(field).hwAddr: \"\(interface.hwAddr)\" is no hardware address")
        }
        hardwareAddress = hardware
        place = PCIPath(interface.devicePath)
        guard place != nil || interface.devicePath.isEmpty else {
            throw RPCError(.invalidArgument, "\(field).devicePath: \"\(interface.devicePath)\" is no PCI path")
        }
        guard (1...Self.maxLinkName).contains(interface.name.utf8.count), ![".", ".."].contains(interface.name),
            !interface.name.contains(where: { "/ :".contains($0) })
        else {
            throw RPCError(.invalidArgument, "\(field).name: \"\(interface.name)\" is no name of a link")
        }
        name = interface.name
        guard interface.mtu <= Self.maxMTU else {
            throw RPCError(.invalidArgument, "\(field).mtu: \(interface.mtu) is above \(Self.maxMTU)")
        }
        mtu = interface.mtu == 0 ? nil : UInt32(interface.mtu)
        addresses = []
        for (index, wire) in interface.ipaddresses.enumerated() {
            guard let address = InternetAddress(wire.address), let length = Int(wire.mask),
                let prefix = Prefix(address, length: length)
            else {
                throw RPCError(
                    .invalidArgument,
                    "\(field).IPAddresses[\(index)]: \"\(wire.address)/\(wire.mask)\" is no address with the length of its network"
                )
            }
            addresses.append(prefix)
        }
        details = []
        for (index, wire) in interface.addresses.enumerated() {
            details.append(try LinkAddress(wire, field: "\(field).addresses[\(index)]"))
        }
        flags = interface.rawFlags & LinkFlags.noARP
        token = try InternetAddress.optional(interface.ipv6Token, field: "\(field).ipv6_token")
        isWithoutLinkLocal = interface.withoutLinkLocal
        settings = interface.settings
        for setting in settings.keys.sorted() where LinkSettings.path(setting, of: name) == nil {
            throw RPCError(.invalidArgument, "\(field).settings: \"\(setting)\" is no setting of a link")
        }
    }

    var isLoopback: Bool { name == Self.loopback }
    static let loopback = "lo"

    /// The link that is meant, among the guest's; nil when it has not appeared yet.
    func find(among links: [Link]) -> Link? {
        if isLoopback { return links.first(where: \.isLoopback) }
        if let place {
            guard let name = PCIDevice.networkLink(at: place.slots) else { return nil }
            return links.first { $0.name == name }
        }
        return links.first { $0.hardwareAddress == hardwareAddress && !$0.isLoopback }
    }

    /// The words for an error.
    var description: String { place.map { "on PCI path \($0)" } ?? "with address \(hardwareAddress)" }
}

extension LinkAddress {
    /// - Throws: `invalidArgument` with the field that is wrong.
    fileprivate init(_ wire: Types_Address, field: String) throws(RPCError) {
        guard let prefix = Prefix(wire.address) else {
            throw RPCError(
                .invalidArgument, "\(field).address: \"\(wire.address)\" is no address with the length of its network")
        }
        self.init(link: 0, prefix: prefix, scope: UInt8(clamping: wire.scope))
        peer = try InternetAddress.optional(wire.peer, field: "\(field).peer")
        broadcast = try InternetAddress.optional(wire.broadcast, field: "\(field).broadcast")
        label = wire.label.isEmpty ? nil : wire.label
        (flags, priority) = (wire.flags, wire.priority)
    }
}

extension InternetAddress {
    /// - Returns: nil for an empty text.
    /// - Throws: `invalidArgument` with the field.
    static func optional(_ text: String, field: String) throws(RPCError) -> InternetAddress? {
        guard !text.isEmpty else { return nil }
        guard let address = InternetAddress(text) else {
            throw RPCError(.invalidArgument, "\(field): \"\(text)\" is no address")
        }
        return address
    }
}
