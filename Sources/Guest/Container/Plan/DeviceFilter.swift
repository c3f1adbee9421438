import OCISpec

/// Which devices a container may open or make: the rules of the specification, resolved, and as a program for the kernel.
///
/// A later rule changes what earlier ones said (config-linux.md, "Allowed Device list").
package struct DeviceFilter: Equatable, Sendable {
    /// BPF_DEVCG_DEV_* and BPF_DEVCG_ACC_* of linux/bpf.h.
    package enum Kind: UInt32, Sendable {
        case any = 0
        case block = 1
        case character = 2
    }

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
        /// nil: every number.
        package var major: UInt32?
        package var minor: UInt32?
        package var access: Access
    }

    /// What holds for a device without an exception.
    package private(set) var allowsByDefault = false
    package private(set) var exceptions: [Exception] = []

    /// Every container has these, whatever its rules say (config-linux.md, "Default Devices"), and may make nodes.
    private static let always: [OCISpec.Linux.Resources.DeviceRule] =
        [.init(allow: true, type: "c", access: "m"), .init(allow: true, type: "b", access: "m")]
        + [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, nil)].map { (major: Int64, minor: Int64?) in
            .init(allow: true, type: "c", major: major, minor: minor, access: "rwm")
        }

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

    /// True when nothing is forbidden: no program is needed.
    package var isOpen: Bool { allowsByDefault && exceptions.isEmpty }

    /// The decision that the program makes.
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

    /// Instructions of BPF_PROG_TYPE_CGROUP_DEVICE: the context is {access << 16 | kind, major, minor}, the answer 1 or 0.
    package var program: [UInt64] {
        var code: [UInt64] = [
            Self.load(register: 2, offset: 0), Self.and(2, 0xffff), Self.load(register: 3, offset: 0),
            Self.shiftRight(3, 16), Self.load(register: 4, offset: 4), Self.load(register: 5, offset: 8),
        ]
        for exception in exceptions {
            // Each test jumps over the rest of its block.
            var tests: [(Int16) -> UInt64] = []
            if exception.kind != .any { tests.append { Self.jumpUnless(2, equals: exception.kind.rawValue, $0) } }
            if let major = exception.major { tests.append { Self.jumpUnless(4, equals: major, $0) } }
            if let minor = exception.minor { tests.append { Self.jumpUnless(5, equals: minor, $0) } }
            if exception.access != .all {
                // r1 is the part of the request that the exception speaks of.
                let part = exception.access.rawValue
                tests.append { _ in Self.move(1, from: 3) }
                tests.append { _ in Self.and(1, part) }
                tests.append { allowsByDefault ? Self.jumpIf(1, equals: 0, $0) : Self.jumpUnlessEqual(1, 3, $0) }
            }
            let length = tests.count + 2
            for (index, test) in tests.enumerated() { code.append(test(Int16(length - index - 1))) }
            code += [Self.set(0, allowsByDefault ? 0 : 1), Self.exit]
        }
        return code + [Self.set(0, allowsByDefault ? 1 : 0), Self.exit]
    }

    // struct bpf_insn: opcode 8, registers 4 + 4, offset 16, immediate 32 bits, from the lowest.
    private static func instruction(
        _ code: UInt8, to: UInt8 = 0, from: UInt8 = 0, jump: Int16 = 0, value: UInt32 = 0
    ) -> UInt64 {
        UInt64(code) | UInt64(to | from << 4) << 8 | UInt64(UInt16(bitPattern: jump)) << 16 | UInt64(value) << 32
    }
    private static func load(register: UInt8, offset: Int16) -> UInt64 {
        instruction(0x61, to: register, from: 1, jump: offset)
    }
    private static func and(_ register: UInt8, _ value: UInt32) -> UInt64 {
        instruction(0x54, to: register, value: value)
    }
    private static func shiftRight(_ register: UInt8, _ bits: UInt32) -> UInt64 {
        instruction(0x74, to: register, value: bits)
    }
    private static func move(_ register: UInt8, from: UInt8) -> UInt64 { instruction(0xbc, to: register, from: from) }
    private static func set(_ register: UInt8, _ value: UInt32) -> UInt64 {
        instruction(0xb7, to: register, value: value)
    }
    private static func jumpUnless(_ register: UInt8, equals value: UInt32, _ jump: Int16) -> UInt64 {
        instruction(0x55, to: register, jump: jump, value: value)
    }
    private static func jumpIf(_ register: UInt8, equals value: UInt32, _ jump: Int16) -> UInt64 {
        instruction(0x15, to: register, jump: jump, value: value)
    }
    private static func jumpUnlessEqual(_ register: UInt8, _ other: UInt8, _ jump: Int16) -> UInt64 {
        instruction(0x5d, to: register, from: other, jump: jump)
    }
    private static let exit = instruction(0x95)
}
