import CLinux
import CSeccomp
import Glibc
import LinuxKernel

/// A compiled filter of system calls: instructions of classic BPF, ready for seccomp(2).
package struct SeccompFilter: Equatable, Sendable {
    package let instructions: [UInt64]
    package let flags: UInt32

    /// The value of SCMP_FLTATR_CTL_OPTIMIZE for a binary tree.
    private static let binaryTree: UInt32 = 2
    /// The longest program that is read back, in bytes; the kernel takes 4096 instructions of 8.
    private static let maxBytes = 1 << 20

    /// Compiles with libseccomp. Leaves out names that it doesn't know: this architecture has no such call.
    /// - Throws: `SystemError` that names the field of linux.seccomp.
    package init(_ plan: SeccompPlan) throws(SystemError) {
        // SAFETY: the guard leaves a context, which is released once, after its last use. Names are only read.
        guard let context = unsafe seccomp_init(plan.defaultAction) else {
            throw SystemError(
                "make seccomp filter (linux.seccomp.defaultAction)", "\(plan.defaultAction)", errno: EINVAL)
        }
        defer { unsafe seccomp_release(context) }
        // A binary search instead of hundreds of comparisons (seccomp_attr_set(3)).
        unsafe seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, Self.binaryTree)
        for name in plan.architectures {
            let token = unsafe seccomp_arch_resolve_name(name)
            guard token != 0 else { throw SystemError("filter (linux.seccomp.architectures)", name, errno: EINVAL) }
            let result = unsafe seccomp_arch_add(context, token)
            if result != 0, result != -EEXIST {
                throw SystemError("filter (linux.seccomp.architectures)", name, errno: -result)
            }
        }
        for rule in plan.rules {
            let number = unsafe seccomp_syscall_resolve_name(rule.name)
            guard number != -1 else { continue }
            let conditions = rule.conditions.map { condition in
                scmp_arg_cmp(
                    arg: condition.argument, op: scmp_compare(condition.comparison), datum_a: condition.value,
                    datum_b: condition.second)
            }
            // SAFETY: the call reads as many conditions as the array has.
            let result = unsafe seccomp_rule_add_array(
                context, rule.action, number, UInt32(conditions.count), conditions)
            // EEXIST: the call has another action already. The same action twice is no error to libseccomp.
            guard result == 0 else {
                throw SystemError("filter (linux.seccomp.syscalls)", rule.name, errno: -result)
            }
        }
        let file = unsafe FileDescriptor(owning: try checkNegativeErrno("make", "filter", clx_memory_file("filter")))
        try unsafe checkNegativeErrno("export", "seccomp filter", seccomp_export_bpf(context, file.raw))
        lseek(file.raw, 0, SEEK_SET)
        let bytes = try file.readAll("seccomp filter", limit: Self.maxBytes)
        // SAFETY: the bytes are instructions of eight bytes; bindMemory ignores a rest.
        let compiled = unsafe bytes.withUnsafeBytes { unsafe Array($0.bindMemory(to: UInt64.self)) }
        instructions = Self.prologue(plan) + compiled
        flags = plan.flags
    }

    package init(instructions: [UInt64], flags: UInt32) {
        self.instructions = instructions
        self.flags = flags
    }

    // SAFETY: the call only reads the name.
    private static var native: UInt32 { unsafe seccomp_arch_resolve_name("x86_64") }

    /// Numbers of x32 calls have this bit beside x86_64's token (__X32_SYSCALL_BIT, asm/unistd.h).
    private static let x32Bit: UInt32 = 0x4000_0000
    /// SECCOMP_RET_ERRNO | ENOSYS (linux/seccomp.h).
    private static let answerENOSYS = 0x0005_0000 | UInt32(ENOSYS)
    /// Actions from SECCOMP_RET_TRACE to SECCOMP_RET_ALLOW: a tracer answers, or the call is allowed.
    private static let letThrough: Range<UInt32> = 0x7ff0_0000..<0x8000_0000

    /// Instructions that answer ENOSYS to system calls newer than every one that the profile names.
    ///
    /// Programs then fall back to the older call, where the profile's default action might kill them. Each architecture
    /// has its numbers. A profile that allows by default, or leaves the answer to a tracer, needs no such instructions.
    private static func prologue(_ plan: SeccompPlan) -> [UInt64] {
        guard !letThrough.contains(plan.defaultAction) else { return [] }
        // SAFETY: the calls only read the names.
        let tokens = [native] + plan.architectures.map { unsafe seccomp_arch_resolve_name($0) }.filter { $0 != native }
        return tokens.flatMap { token in
            refusal(
                ofCallsAbove: plan.named.map { unsafe seccomp_syscall_resolve_name_arch(token, $0) }.max() ?? 0, token)
        }
    }

    /// Answers ENOSYS to numbers above `highest` of one architecture; anything else goes on to the next instructions.
    private static func refusal(ofCallsAbove highest: Int32, _ token: UInt32) -> [UInt64] {
        // libseccomp gives negative numbers to calls that the architecture lacks.
        guard highest > 0 else { return [] }
        let answer = [BPF.skip(1, unlessGreater: UInt32(highest)), BPF.answer(answerENOSYS)]
        // To the kernel, x32 is x86_64 with another bit in each number.
        // SAFETY: the call only reads the name.
        let isX32 = unsafe token == seccomp_arch_resolve_name("x32")
        let toAnswer = UInt8(answer.count)
        let selection: [UInt64] =
            isX32 || token == native
            ? [BPF.skip(ifTrue: isX32 ? 0 : toAnswer, ifFalse: isX32 ? toAnswer : 0, atLeast: x32Bit)] : []
        let rest = [BPF.load(.number)] + selection + answer
        return [BPF.load(.architecture), BPF.skip(UInt8(rest.count), unlessEqual: isX32 ? native : token)] + rest
    }

    /// Applies the filter to this thread and everything it executes (seccomp(2)).
    /// - Throws: `SystemError`: E2BIG for more than 4096 instructions. The errno of seccomp(2), such as EACCES with
    ///   neither CAP_SYS_ADMIN nor no_new_privs.
    package func load() throws(SystemError) {
        // SAFETY: the call reads as many instructions, of eight bytes each, as the array has.
        try checkNegativeErrno(
            "load", "seccomp filter of \(instructions.count) instructions (linux.seccomp)",
            unsafe clx_load_seccomp(instructions, instructions.count, flags))
    }
}
