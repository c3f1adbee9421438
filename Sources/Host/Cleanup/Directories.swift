import LinuxKernel

extension Ledger {
    /// The directories of all sandboxes and of their shares; the names are Kata's.
    package static let machines = "/run/vc/vm"
    package static let shares = "/run/kata-containers/shared/sandboxes"

    /// Whether a path lies below the directories above. Whatever a ledger's file says, no other path is removed.
    static func isOurs(_ path: String) -> Bool {
        [machines, shares].contains { path.hasPrefix($0 + "/") && path.utf8.count > $0.utf8.count + 1 } && isPlain(path)
    }

    /// Whether a path has no `.` and no `..`.
    package static func isPlain(_ path: String) -> Bool {
        !path.split(separator: "/").contains { $0 == ".." || $0 == "." }
    }

    /// The id of the host's boot; nil when it can't be read, for example for lack of a descriptor.
    static let currentBoot: String? = {
        guard let text = try? Files.readText(bootFile), !text.isEmpty else { return nil }
        return String(text.prefix { !$0.isWhitespace })
    }()
    private static let bootFile = "/proc/sys/kernel/random/boot_id"
    static let unknownBoot =
        "\(bootFile) can't be read, so a sandbox can't be told from one before the host's restart; is `ulimit -n` high enough?"
}

/// The reason why a sandbox's directory can't be made or cleaned up.
package struct LedgerError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
