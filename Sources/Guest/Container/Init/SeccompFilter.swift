import CLinux
import CSeccomp
import Glibc
import LinuxKernel

/// A compiled filter: instructions of classic BPF, ready for seccomp(2).
package struct SeccompFilter: Equatable, Sendable {
    package let instructions: [UInt64]
    package let flags: UInt32

    /// Compiles with libseccomp. System calls that it doesn't know are left out: this architecture has none of that name.
    package init(_ plan: SeccompPlan) throws(SystemError) {
        guard let context = seccomp_init(plan.defaultAction) else {
            throw SystemError(
                "make seccomp filter (linux.seccomp.defaultAction)", "\(plan.defaultAction)", errno: EINVAL)
        }
        defer { seccomp_release(context) }
        // Two lookups by halves instead of hundreds of comparisons.
        seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)
        for name in plan.architectures {
            let token = seccomp_arch_resolve_name(name)
            guard token != 0 else { throw SystemError("filter (linux.seccomp.architectures)", name, errno: EINVAL) }
            let result = seccomp_arch_add(context, token)
            if result != 0, result != -EEXIST {
                throw SystemError("filter (linux.seccomp.architectures)", name, errno: -result)
            }
        }
        for rule in plan.rules {
            let number = seccomp_syscall_resolve_name(rule.name)
            guard number != -1 else { continue }
            let conditions = rule.conditions.map { condition in
                scmp_arg_cmp(
                    arg: condition.argument, op: scmp_compare(condition.comparison), datum_a: condition.value,
                    datum_b: condition.second)
            }
            let result = seccomp_rule_add_array(context, rule.action, number, UInt32(conditions.count), conditions)
            // The same answer twice is no error to libseccomp; EEXIST is another answer to the same call.
            guard result == 0 else {
                throw SystemError("filter (linux.seccomp.syscalls)", rule.name, errno: -result)
            }
        }
        let file = FileDescriptor(owning: try checkNegativeErrno("make", "filter", clx_memory_file("filter")))
        try checkNegativeErrno("export", "seccomp filter", seccomp_export_bpf(context, file.raw))
        lseek(file.raw, 0, SEEK_SET)
        let bytes = try file.readAll("seccomp filter", limit: 1 << 20)
        let compiled = bytes.withUnsafeBytes { Array($0.bindMemory(to: UInt64.self)) }
        instructions = Self.prologue(plan) + compiled
        flags = plan.flags
    }

    package init(instructions: [UInt64], flags: UInt32) {
        self.instructions = instructions
        self.flags = flags
    }

    private static var native: UInt32 { seccomp_arch_resolve_name("x86_64") }

    /// A system call that is younger than every one the profile names answers ENOSYS: programs then try the older one, where the
    /// profile's own answer would end them. Each architecture has numbers of its own. A profile that allows by default, or leaves
    /// the answer to a tracer, needs none of it.
    private static func prologue(_ plan: SeccompPlan) -> [UInt64] {
        guard plan.defaultAction < 0x7ff0_0000 || plan.defaultAction >= 0x8000_0000 else { return [] }
        let tokens = [native] + plan.architectures.map { seccomp_arch_resolve_name($0) }.filter { $0 != native }
        return tokens.flatMap { token in
            younger(than: plan.named.map { seccomp_syscall_resolve_name_arch(token, $0) }.max() ?? 0, token)
        }
    }

    /// Answers ENOSYS for numbers above `highest` of one architecture; all else goes on to what follows.
    private static func younger(than highest: Int32, _ token: UInt32) -> [UInt64] {
        // Negative are libseccomp's numbers of calls that the architecture doesn't have.
        guard highest > 0 else { return [] }
        // struct sock_filter: code 16, jump-if-true 8, jump-if-false 8, value 32 bits, from the lowest.
        func instruction(_ code: UInt64, _ yes: UInt64, _ no: UInt64, _ value: UInt32) -> UInt64 {
            code | yes << 16 | no << 24 | UInt64(value) << 32
        }
        let tail = [
            instruction(0x25, 0, 1, UInt32(highest)), instruction(0x06, 0, 0, 0x0005_0000 | UInt32(ENOSYS)),
        ]
        // To the kernel x32 is x86_64 with a bit of its own in each number; for others libseccomp's names are the kernel's.
        let isX32 = token == seccomp_arch_resolve_name("x32")
        let shared: [UInt64] =
            isX32 || token == native
            ? [instruction(0x35, isX32 ? 0 : 2, isX32 ? 2 : 0, 0x4000_0000)] : []
        let rest = [instruction(0x20, 0, 0, 0)] + shared + tail  // load seccomp_data.nr
        return [
            instruction(0x20, 0, 0, 4),  // load seccomp_data.arch
            instruction(0x15, 0, UInt64(rest.count), isX32 ? native : token),
        ] + rest
    }

    /// Takes effect for this thread and all it becomes (seccomp(2)).
    package func load() throws(SystemError) {
        try checkNegativeErrno(
            "load", "seccomp filter of \(instructions.count) instructions (linux.seccomp)",
            clx_load_seccomp(instructions, instructions.count, flags))
    }
}
