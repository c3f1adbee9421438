/// The name of a kernel module. It has no `-`: modprobe(8) takes `-` and `_` for the same.
package enum ModuleName {
    /// Writes `-` as `_`.
    package static func normal(_ name: Substring) -> String {
        String(decoding: name.utf8.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    }

    /// The module in a file such as `kernel/net/802/stp.ko.xz`.
    package static func ofFile(_ path: Substring) -> String {
        normal(Files.name(of: String(path)).prefix { $0 != "." })
    }
}
