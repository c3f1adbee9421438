import LinuxKernel

/// The path of a shim's socket: one for each manager, containerd namespace and sandbox.
package enum SocketAddress {
    package static let directory = "/run/containerd/s"

    package static func path(
        in directory: String = directory, containerd: String, namespace: String, group: String
    ) -> String {
        "\(directory)/\(digest("\(containerd)/\(namespace)/\(group)"))"
    }

    private static let scheme = "unix://"

    /// The address of a socket, as managers exchange it: `unix:///run/containerd/s/…`.
    package static func address(ofPath path: String) -> String { scheme + path }

    /// The path of an address, which may end with a newline.
    /// - Returns: nil for anything but the address of an absolute path.
    package static func path(ofAddress text: String) -> String? {
        guard text.hasPrefix(scheme + "/") else { return nil }
        return String(text.dropFirst(scheme.count).prefix { $0 != "\n" })
    }

    /// 128 bits of FNV-1a in hexadecimal, which fit in sun_path (unix(7)). They don't protect against forged ids.
    private static func digest(_ text: String) -> String {
        [0xcbf2_9ce4_8422_2325, 0x8422_2325_cbf2_9ce4].map { (seed: UInt64) in
            let value = text.utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
