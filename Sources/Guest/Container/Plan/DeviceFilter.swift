import OCISpec

/// The devices that a container may open or make: the rules of the specification, resolved.
///
/// A later rule overrides earlier ones (config-linux.md, "Allowed Device list").
package struct DeviceFilter: Equatable, Sendable {
    /// BPF_DEVCG_DEV_* (linux/bpf.h).
    package enum Kind: UInt32, Sendable {
        case any = 0
        case block = 1
        case character = 2
    }

    /// BPF_DEVCG_ACC_* (linux/bpf.h).
    package struct Access: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let make = Access(rawValue: 1)
        package static let read = Access(rawValue: 2)
        package static let write = Access(rawValue: 4)
        package static let all: Access = [.make, .read, .write]
    }

    package struct Exception: Equatable, Sendable {
        package var kind: Kind
        /// nil means every number.
        package var major: UInt32?
        package var minor: UInt32?
        package var access: Access
    }

    /// The answer for a device without an exception.
    package private(set) var allowsByDefault = false
    package private(set) var exceptions: [Exception] = []

    /// Rules that every container gets: it may make nodes, and use the default devices (config-linux.md, "Default
    /// Devices").
    private static let always: [OCISpec.Linux.Resources.DeviceRule] =
        [.init(allow: true, type: "c", access: "m"), .init(allow: true, type: "b", access: "m")]
        + defaultDevices.map { (major: Int64, minor: Int64?) in
            .init(allow: true, type: "c", major: major, minor: minor, access: "rwm")
        }

    /// null, zero, full, random, urandom, tty, ptmx and all pts (Documentation/admin-guide/devices.txt).
    private static let defaultDevices: [(Int64, Int64?)] =
        [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, nil)]

    package init(_ rules: [OCISpec.Linux.Resources.DeviceRule]) {
        for rule in rules + Self.always { apply(rule) }
    }

    private mutating func apply(_ rule: OCISpec.Linux.Resources.DeviceRule) {
        let kind: Kind =
            switch rule.type ?? "a" {
            case "b": .block
            case "c": .character
            default: .any
            }
        let letters = (rule.access ?? "").isEmpty ? "rwm" : rule.access ?? ""
        let access = letters.reduce(into: Access()) { $0.insert($1 == "r" ? .read : $1 == "w" ? .write : .make) }
        let major = rule.major.flatMap { $0 < 0 ? nil : UInt32(clamping: $0) }
        let minor = rule.minor.flatMap { $0 < 0 ? nil : UInt32(clamping: $0) }
        if kind == .any, major == nil, minor == nil, access == .all {
            allowsByDefault = rule.allow
            exceptions = []
            return
        }
        let index = exceptions.firstIndex { $0.kind == kind && $0.major == major && $0.minor == minor }
        if rule.allow != allowsByDefault {
            if let index {
                exceptions[index].access.formUnion(access)
            } else {
                exceptions.append(Exception(kind: kind, major: major, minor: minor, access: access))
            }
        } else if let index {
            exceptions[index].access.subtract(access)
            if exceptions[index].access.isEmpty { exceptions.remove(at: index) }
        }
    }

    /// Whether everything is allowed, so that no program is needed.
    package var isOpen: Bool { allowsByDefault && exceptions.isEmpty }

    /// The program's decision for one request.
    package func allows(_ kind: Kind, _ major: UInt32, _ minor: UInt32, _ access: Access) -> Bool {
        for exception in exceptions
        where (exception.kind == .any || exception.kind == kind) && exception.major ?? major == major
            && exception.minor ?? minor == minor
        {
            if allowsByDefault {
                if !exception.access.isDisjoint(with: access) { return false }
            } else if exception.access.isSuperset(of: access) {
                return true
            }
        }
        return allowsByDefault
    }
}
