/// The sysctls of one link (ip-sysctl.rst). A setting's name is its file's path below /proc/sys/net without the link:
/// `ipv4/conf/rp_filter`.
package enum LinkSettings {
    /// Directories that have one directory for each link.
    package static let trees = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"]
    /// The directory of a tree's settings for a link.
    package static func directory(_ tree: String, of link: String) -> String { "/proc/sys/net/\(tree)/\(link)" }

    /// The file of a setting; nil for a text that names none.
    package static func path(_ setting: String, of link: String) -> String? {
        guard let slash = setting.lastIndex(of: "/") else { return nil }
        let (tree, name) = (String(setting[..<slash]), setting[setting.index(after: slash)...])
        let isPlain = !name.isEmpty && name.utf8.allSatisfy { $0 == UInt8(ascii: "_") || isLetterOrDigit($0) }
        return trees.contains(tree) && isPlain ? "\(directory(tree, of: link))/\(name)" : nil
    }

    /// The file with a setting's value of new links; nil for a text that names none.
    package static func initialPath(_ setting: String) -> String? {
        // Only the first network namespace has neigh/default (neigh_sysctl_register). The loopback link began with its
        // values.
        path(setting, of: setting.contains("/neigh/") ? "lo" : "default")
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte)
    }
}
