/// A set of capabilities of a process (capabilities(7)).
package struct CapabilitySet: Sendable, Equatable {
    /// One bit for each capability, at its number.
    package let bits: UInt64

    package init(bits: UInt64) { self.bits = bits }
    package init(_ capabilities: [Capability]) { bits = capabilities.reduce(0) { $0 | 1 << UInt64($1.rawValue) } }

    package static let all = CapabilitySet(bits: .max)

    /// Parses a line such as `CapBnd:` of a process's status file (proc_pid_status(5)).
    /// - Parameter status: the text of the file.
    /// - Returns: nil when it has no such line.
    package init?(_ line: String, in status: String) {
        let found = status.split(separator: "\n").first { $0.hasPrefix(line) }
        guard let value = found?.split(whereSeparator: \.isWhitespace).last, let bits = UInt64(value, radix: 16) else {
            return nil
        }
        self.bits = bits
    }

    package func intersection(_ other: CapabilitySet) -> CapabilitySet { CapabilitySet(bits: bits & other.bits) }
}

/// The capabilities that the host's programs use (linux/capability.h).
package enum Capability: Int, Sendable {
    case chown = 0
    case dacOverride = 1
    case dacReadSearch = 2
    case fowner = 3
    case fsetid = 4
    case kill = 5
    case setgid = 6
    case setuid = 7
    case setpcap = 8
    case netBindService = 10
    case netAdmin = 12
    case netRaw = 13
    case ipcLock = 14
    case sysChroot = 18
    case sysPtrace = 19
    case sysAdmin = 21
    case sysNice = 23
    case sysResource = 24
    case mknod = 27
    case setfcap = 31
}
