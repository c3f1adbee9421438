import AgentAPI
import LinuxKernel
import Netlink

/// Reads the settings of links that differ from what a new link gets, in the calling thread's network namespace.
struct ChangedSettings {
    /// The link's MTU and kind of IPv6 addresses, which rtnetlink tells, and a value that only routing programs set.
    private static let others: Set<String> = ["mtu", "addr_gen_mode", "mc_forwarding"]

    /// Values of new links. Docker turns IPv6 off for new links first, then on for some: a guest's links have it on.
    private var initials = ["ipv6/conf/disable_ipv6": "0"]

    /// - Returns: settings and their values, by the links' indices; nothing for links that the guest doesn't get.
    static func of(_ links: [Link]) -> [Int32: [String: String]] {
        var reader = ChangedSettings()
        var found: [Int32: [String: String]] = [:]
        for link in links where !link.isLoopback && link.isUp && !NetworkPlan.isOwnName(link.name) {
            let settings = reader.settings(of: link.name)
            if !settings.isEmpty { found[link.index] = settings }
        }
        return found
    }

    private mutating func settings(of link: String) -> [String: String] {
        var found: [String: String] = [:]
        for tree in LinkSettings.trees {
            for name in Files.list(LinkSettings.directory(tree, of: link)) where !Self.others.contains(name) {
                let setting = "\(tree)/\(name)"
                // A secret that was never set can't be read; a link may have gone meanwhile.
                guard let initial = initial(setting), let value = Self.value(LinkSettings.path(setting, of: link)),
                    value != initial
                else { continue }
                found[setting] = value
            }
        }
        return found
    }

    private mutating func initial(_ setting: String) -> String? {
        if let known = initials[setting] { return known }
        initials[setting] = Self.value(LinkSettings.initialPath(setting))
        return initials[setting]
    }

    private static func value(_ path: String?) -> String? {
        guard let path, let text = try? Files.readText(path) else { return nil }
        return text.last == "\n" ? String(text.dropLast()) : text
    }
}
