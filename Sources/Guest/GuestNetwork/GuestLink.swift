import Netlink
import TTRPC

/// Finds, names and sets up links of the guest.
enum GuestLink {
    /// Finds the link, or waits for it: after the host has plugged it in, the kernel still has to probe it.
    /// - Throws: `notFound` when it has not appeared by the deadline.
    static func find(_ plan: InterfacePlan, _ socket: NetlinkSocket, _ deadline: ContinuousClock.Instant) throws
        -> Link
    {
        // Monitor before the first look, to miss no link that appears in between.
        let monitor = try NetworkMonitor(.links)
        while true {
            if let link = plan.find(among: try socket.links()) { return link }
            guard try monitor.wait(until: deadline) else {
                throw RPCError(
                    .notFound, "interface.hwAddr: no link \(plan.description) has appeared in the guest")
            }
        }
    }

    /// Renames a link, which must be down for that. Another link that has the name gets a temporary one.
    static func rename(_ link: Link, to name: String, _ socket: NetlinkSocket) throws {
        guard link.name != name else { return }
        var down = NetlinkSocket.Change()
        down.isUp = false
        var named = NetlinkSocket.Change()
        if let other = try socket.links().first(where: { $0.name == name }) {
            try socket.change(other.index, down)
            named.name = "kata\(other.index)tmp"
            try socket.change(other.index, named)
            if other.isUp {
                var up = NetlinkSocket.Change()
                up.isUp = true
                try socket.change(other.index, up)
            }
        }
        try socket.change(link.index, down)
        named.name = name
        try socket.change(link.index, named)
    }

    /// Sets the MTU and flags, and sets the link up.
    static func set(_ link: Link, _ plan: InterfacePlan, _ socket: NetlinkSocket) throws {
        var settings = NetlinkSocket.Change()
        settings.mtu = plan.mtu == link.mtu ? nil : plan.mtu
        settings.flags = plan.flags
        settings.isUp = true
        try socket.change(link.index, settings)
    }

    /// Sets what the kernel needs to make IPv6 addresses by itself. Before the link is up: it makes them then.
    static func setIPv6(_ link: Link, _ plan: InterfacePlan, _ socket: NetlinkSocket) throws {
        var settings = NetlinkSocket.Change()
        if plan.isWithoutLinkLocal != link.isWithoutLinkLocal { settings.isWithoutLinkLocal = plan.isWithoutLinkLocal }
        if plan.token != link.token { settings.token = plan.token ?? InternetAddress("::") }
        guard settings.token != nil || settings.isWithoutLinkLocal != nil else { return }
        try socket.change(link.index, settings)
    }
}
