import AgentAPI
import LinuxKernel
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

    /// Writes a setting (`LinkSettings`), unless the guest's kernel lacks it or has the value already.
    static func write(_ setting: String, _ value: String, of link: String) throws(SystemError) {
        guard let path = LinkSettings.path(setting, of: link), Files.exists(path), read(path) != value else { return }
        do { try Files.write(path, value) } catch {
            throw SystemError("set \(setting) to \"\(value)\" in", path, errno: error.code)
        }
    }

    /// Gives a setting the value of new links, unless a program of the guest has changed it since.
    static func reset(_ setting: String, from value: String, of link: String) {
        guard let path = LinkSettings.path(setting, of: link), read(path) == value,
            let initial = LinkSettings.initialPath(setting).flatMap(read)
        else { return }
        try? Files.write(path, initial)
    }

    private static func read(_ path: String) -> String? {
        guard let text = try? Files.readText(path) else { return nil }
        return text.last == "\n" ? String(text.dropLast()) : text
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
