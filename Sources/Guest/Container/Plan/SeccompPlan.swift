import OCISpec

/// A container's filter of system calls as libseccomp takes it: numbers, and one rule for each call.
package struct SeccompPlan: Equatable, Sendable {
    /// SECCOMP_RET_* with its errno.
    package var defaultAction: UInt32
    /// libseccomp's names, such as `x86_64`.
    package var architectures: [String]
    /// Bits of seccomp(2).
    package var flags: UInt32
    package var rules: [Rule]
    /// Every call that the profile names, also where it says the same as the default.
    package var named: [String]

    package struct Rule: Equatable, Sendable {
        package var name: String
        package var action: UInt32
        /// All of them must hold.
        package var conditions: [Condition]
    }

    package struct Condition: Equatable, Sendable {
        package var argument: UInt32
        /// enum scmp_compare of libseccomp.
        package var comparison: UInt32
        package var value: UInt64
        package var second: UInt64
    }

    init(_ seccomp: OCISpec.Linux.Seccomp) {
        func action(_ name: String, _ errno: UInt32?) -> UInt32 {
            let number = KernelNames.seccompActions.first { $0.name == name }?.number ?? 0
            // EPERM where the profile names none, as runc has it.
            return name == "SCMP_ACT_ERRNO" || name == "SCMP_ACT_TRACE" ? number | (errno ?? 1) : number
        }
        defaultAction = action(seccomp.defaultAction, seccomp.defaultErrnoRet)
        architectures = (seccomp.architectures ?? []).map { String($0.dropFirst("SCMP_ARCH_".count)).lowercased() }
        // "SPEC_ALLOW" is what a profile without flags gets; what belongs to a listener has nothing to act on.
        flags =
            seccomp.flags.map { names in
                KernelNames.seccompFlags.reduce(0) { names.contains($1.name) && $1.bit < 32 ? $0 | $1.bit : $0 }
            } ?? 4
        rules = []
        named = (seccomp.syscalls ?? []).flatMap(\.names)
        for syscall in seccomp.syscalls ?? [] {
            let action = action(syscall.action, syscall.errnoRet)
            guard action != defaultAction else { continue }
            let conditions = (syscall.args ?? []).map { argument in
                let order = KernelNames.seccompOperators.firstIndex(of: argument.op) ?? 0
                return Condition(
                    argument: argument.index, comparison: UInt32(order + 1), value: argument.value,
                    second: argument.valueTwo ?? 0)
            }
            // libseccomp takes each argument once in a rule: what names one twice becomes rules of their own, any of
            // which is enough.
            let repeats = Set(conditions.map(\.argument)).count < conditions.count
            for name in syscall.names {
                if repeats {
                    rules += conditions.map { Rule(name: name, action: action, conditions: [$0]) }
                } else {
                    rules.append(Rule(name: name, action: action, conditions: conditions))
                }
            }
        }
    }
}
