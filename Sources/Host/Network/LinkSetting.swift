import Netlink

/// Settings for a link in the sandbox's namespace, which the guest mirrors.
package struct LinkSetting: Equatable, Sendable {
    /// The link's present name.
    package let device: String
    package let name: String
    package let hardwareAddress: HardwareAddress?
    package let mtu: UInt32?
    package let addresses: [Prefix]

    package init(
        device: String, name: String, hardwareAddress: HardwareAddress?, mtu: UInt32?, addresses: [Prefix]
    ) {
        (self.device, self.name) = (device, name)
        (self.hardwareAddress, self.mtu, self.addresses) = (hardwareAddress, mtu, addresses)
    }

    /// Sets the link up, in the calling thread's namespace. Raises it last, so that a watcher sees it complete.
    /// - Throws: `NetworkError` without such a link, for a link in use, and for a name that is taken: nothing has
    ///   changed then. `SystemError` of rtnetlink, also half-way.
    package func apply() throws {
        let socket = try NetlinkSocket()
        let links = try socket.links()
        guard let link = links.first(where: { $0.name == device }) else {
            throw NetworkError(
                "link \(device) is not in the container's network namespace: move it there first (ip link set \(device) netns PID)"
            )
        }
        let addresses = try socket.addresses().filter { $0.link == link.index && $0.scope != RouteScope.link }
        guard !link.isUp || addresses.isEmpty else {
            throw NetworkError("link \(device) is in use: the guest has it already")
        }
        guard device == name || !links.contains(where: { $0.name == name }) else {
            throw NetworkError("link \(device) can't be named \(name): there is one of that name")
        }
        var change = NetlinkSocket.Change()
        change.isUp = false
        try socket.change(link.index, change)
        change = .init()
        change.name = device == name ? nil : name
        (change.mtu, change.hardwareAddress) = (mtu, hardwareAddress)
        try socket.change(link.index, change)
        for prefix in self.addresses { try socket.add(LinkAddress(link: link.index, prefix: prefix)) }
        change = .init()
        change.isUp = true
        try socket.change(link.index, change)
    }

    /// Removes a link from the guest: the link stays in the namespace, down and without addresses.
    /// - Parameter name: the link's name; when it is empty, the hardware address selects the link.
    /// - Returns: the link's settings before the change.
    /// - Throws: `NetworkError` without such a link, `SystemError` of rtnetlink.
    @discardableResult
    package static func release(_ name: String, _ hardwareAddress: HardwareAddress?) throws -> Link {
        let socket = try NetlinkSocket()
        let found = try socket.links().first { link in
            name.isEmpty ? link.hardwareAddress == hardwareAddress && !link.isLoopback : link.name == name
        }
        guard let link = found else {
            let words = name.isEmpty ? "with address \(hardwareAddress?.description ?? "")" : name
            throw NetworkError("link \(words) is not in the container's network namespace")
        }
        var change = NetlinkSocket.Change()
        change.isUp = false
        try socket.change(link.index, change)
        for address in try socket.addresses() where address.link == link.index { try? socket.delete(address) }
        return link
    }
}
