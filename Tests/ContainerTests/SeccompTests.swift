import Glibc
import TestSupport
import Testing

@testable import Container
@testable import OCISpec

@Suite("Filters of system calls")
struct SeccompTests {
    private typealias Profile = OCISpec.Linux.Seccomp
    private static let allow: UInt32 = 0x7fff_0000
    private static func errno(_ number: UInt32) -> UInt32 { 0x0005_0000 | number }

    private static let profile: Profile = {
        var profile = Profile(defaultAction: "SCMP_ACT_ERRNO")
        profile.defaultErrnoRet = 38
        profile.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        profile.syscalls = [
            .init(names: ["read", "write", "exit_group", "no_such_call", "statx"], action: "SCMP_ACT_ALLOW"),
            .init(names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 13),
            .init(names: ["getpid"], action: "SCMP_ACT_KILL_PROCESS"),
            .init(
                names: ["personality"], action: "SCMP_ACT_ALLOW",
                args: [
                    .init(index: 0, value: 0, op: "SCMP_CMP_EQ"), .init(index: 0, value: 8, op: "SCMP_CMP_EQ"),
                ]),
            .init(
                names: ["clone"], action: "SCMP_ACT_ALLOW",
                args: [.init(index: 0, value: 0x7e02_0000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ")]),
            .init(names: ["close"], action: "SCMP_ACT_ERRNO", errnoRet: 38),
        ]
        return profile
    }()

    @Test("a profile becomes numbers, one rule for each call; what says the same as the default is left out")
    func golden() {
        let plan = SeccompPlan(Self.profile)
        #expect(plan.defaultAction == Self.errno(38))
        #expect(plan.architectures == ["x86_64", "x86", "x32"] && plan.flags == 4)
        #expect(plan.rules.map(\.name).contains("close") == false)
        #expect(plan.rules.filter { $0.name == "personality" }.map(\.conditions.count) == [1, 1])
        #expect(
            plan.rules.last?.conditions == [.init(argument: 0, comparison: 7, value: 0x7e02_0000, second: 0)])
        var flagged = Self.profile
        flagged.flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
        #expect(SeccompPlan(flagged).flags == 2)
    }

    @Test("the compiled filter decides as the profile says, and answers ENOSYS for newer calls")
    func decisions() throws {
        let filter = try SeccompFilter(SeccompPlan(Self.profile))
        func decide(_ number: UInt32, _ first: UInt64 = 0, architecture: UInt32 = 0xc000_003e) -> UInt32 {
            run(filter.instructions, number, architecture, first)
        }
        #expect(decide(0) == Self.allow && decide(1) == Self.allow)
        #expect(decide(83) == Self.errno(13) && decide(39) == 0x8000_0000 && decide(2) == Self.errno(38))
        #expect(decide(135, 8) == Self.allow && decide(135, 0) == Self.allow && decide(135, 5) == Self.errno(38))
        #expect(decide(56, 0x11) == Self.allow && decide(56, 0x1000_0000) == Self.errno(38))
        // statx (332) is the youngest that the profile names; the others of its time are unknown, not refused.
        let missing = Self.errno(UInt32(ENOSYS))
        #expect(decide(331) == Self.errno(38) && decide(333) == missing && decide(435) == missing)
        // 32-bit numbers are their own: 4 is write, 39 mkdir.
        #expect(decide(4, architecture: 0x4000_0003) == Self.allow)
        #expect(decide(39, architecture: 0x4000_0003) == Self.errno(13))
        #expect(try SeccompFilter(SeccompPlan(Self.profile)) == filter)
    }

    @Test("each architecture has its own newest call: 32-bit and x32 calls answer ENOSYS above theirs")
    func youngestCalls() throws {
        var profile = Profile(defaultAction: "SCMP_ACT_ERRNO")
        profile.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        profile.syscalls = [.init(names: ["read", "statx", "execve"], action: "SCMP_ACT_ALLOW")]
        let filter = try SeccompFilter(SeccompPlan(profile)).instructions
        let (refused, missing) = (Self.errno(1), Self.errno(UInt32(ENOSYS)))
        // statx is 332, in 32 bits 383; on x32 the highest is execve's own, 520.
        #expect([331, 332, 333].map { run(filter, $0, 0xc000_003e, 0) } == [refused, Self.allow, missing])
        #expect([382, 383, 384].map { run(filter, $0, 0x4000_0003, 0) } == [refused, Self.allow, missing])
        let bit: UInt32 = 0x4000_0000
        #expect(
            [332, 333, 520, 521].map { run(filter, bit | $0, 0xc000_003e, 0) }
                == [Self.allow, refused, Self.allow, missing])
        // Without x32 in the list, its calls get what libseccomp has for foreign architectures.
        profile.architectures = ["SCMP_ARCH_X86_64"]
        let native = try SeccompFilter(SeccompPlan(profile)).instructions
        #expect(run(native, bit | 521, 0xc000_003e, 0) == 0 && run(native, 384, 0x4000_0003, 0) == 0)
        #expect(run(native, 333, 0xc000_003e, 0) == missing)
        // A tracer knows new calls; a profile that allows by default needs no such answer.
        for action in ["SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
            profile.defaultAction = action
            profile.syscalls = [.init(names: ["read", "statx"], action: "SCMP_ACT_ERRNO")]
            #expect(run(try SeccompFilter(SeccompPlan(profile)).instructions, 333, 0xc000_003e, 0) != missing)
        }
    }

    @Test("what the profile names is known, also where its answer is the default's")
    func knownCalls() throws {
        var profile = Profile(defaultAction: "SCMP_ACT_ERRNO")
        profile.syscalls = [
            .init(names: ["read"], action: "SCMP_ACT_ALLOW"), .init(names: ["write"], action: "SCMP_ACT_ALLOW"),
            .init(names: ["statx"], action: "SCMP_ACT_ERRNO", errnoRet: 1),
        ]
        let filter = try SeccompFilter(SeccompPlan(profile)).instructions
        #expect(run(filter, 332, 0xc000_003e, 0) == Self.errno(1))
        #expect(run(filter, 333, 0xc000_003e, 0) == Self.errno(UInt32(ENOSYS)))
    }

    @Test("two answers to the same call are refused, the same answer twice is one")
    func contradictions() throws {
        func rule(_ errno: UInt32) -> Profile.Rule {
            .init(
                names: ["getpid"], action: "SCMP_ACT_ERRNO", errnoRet: errno,
                args: [.init(index: 0, value: 1, op: "SCMP_CMP_EQ")])
        }
        var profile = Profile(defaultAction: "SCMP_ACT_ALLOW")
        profile.syscalls = [rule(5), rule(5)]
        _ = try SeccompFilter(SeccompPlan(profile))
        profile.syscalls = [rule(5), rule(6)]
        #expect(throws: (any Error).self) { try SeccompFilter(SeccompPlan(profile)) }
    }

    @Test("a list of hundreds of calls for three architectures fits a filter, and is the same each time")
    func longList() throws {
        let profile = try Profile.decode(json: Array(AllowList.profile.utf8), source: "x")
        let filter = try SeccompFilter(SeccompPlan(profile))
        #expect(filter.instructions.count > 300 && filter.instructions.count < 4096)
        #expect(try SeccompFilter(SeccompPlan(profile)) == filter)
        func decide(_ number: UInt32, _ first: UInt64 = 0) -> UInt32 {
            run(filter.instructions, number, 0xc000_003e, first)
        }
        // write, mount, unshare, clone3, the youngest known (450) and what came after it.
        #expect(decide(1) == Self.allow && decide(165) == Self.errno(1) && decide(272) == Self.errno(1))
        #expect(decide(435) == Self.errno(38) && decide(449) == Self.allow && decide(450) == Self.errno(38))
        #expect(decide(41, 2) == Self.allow && decide(41, 40) == Self.errno(1))
        #expect(decide(135, 0xffff_ffff) == Self.allow && decide(135, 8) == Self.errno(1))
        // 32-bit numbers are their own: 4 is write, 21 mount.
        #expect(run(filter.instructions, 4, 0x4000_0003, 0) == Self.allow)
        #expect(run(filter.instructions, 21, 0x4000_0003, 0) == Self.errno(1))
    }

    @Test("wrong profiles are refused by their field")
    func refusals() {
        func field(_ change: (inout Profile) -> Void) -> String? {
            var spec = Spec.example
            var profile = Self.profile
            change(&profile)
            spec.linux?.seccomp = profile
            do {
                try spec.validate(source: "x")
                return nil
            } catch { return error.path }
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.defaultAction = "ALLOW" } == "linux.seccomp.defaultAction")
        #expect(field { $0.syscalls?[0].errnoRet = 1 } == "linux.seccomp.syscalls[0].errnoRet")
        #expect(field { $0.defaultErrnoRet = 4096 } == "linux.seccomp.defaultErrnoRet")
        #expect(field { $0.syscalls?[0].names = [] } == "linux.seccomp.syscalls[0].names")
        #expect(field { $0.syscalls?[4].args?[0].index = 6 } == "linux.seccomp.syscalls[4].args[0].index")
        #expect(field { $0.syscalls?[4].args?[0].op = "EQ" } == "linux.seccomp.syscalls[4].args[0].op")
        #expect(field { $0.listenerMetadata = "x" } == "linux.seccomp.listenerMetadata")
        #expect(field { $0.architectures = ["X86"] } == "linux.seccomp.architectures[0]")
        #expect(field { $0.flags = ["FAST"] } == "linux.seccomp.flags[0]")
    }

    @Test("a listener is refused where a call would ask it, and its path ignored where none does")
    func listeners() throws {
        func field(_ change: (inout Profile) -> Void) -> String? {
            var spec = Spec.example
            var profile = Self.profile
            (profile.listenerPath, profile.listenerMetadata) = ("/run/l.sock", "x")
            change(&profile)
            spec.linux?.seccomp = profile
            do {
                try spec.validate(source: "x")
                _ = try ContainerPlan(spec, container: "c1")
                return nil
            } catch { return (error as? PlanError)?.field }
        }
        #expect(field { _ in } == nil)
        #expect(
            field {
                $0.syscalls?[1].action = "SCMP_ACT_NOTIFY"
                $0.syscalls?[1].errnoRet = nil
            } == "linux.seccomp.syscalls[1].action")
        #expect(
            field {
                $0.defaultAction = "SCMP_ACT_NOTIFY"
                $0.defaultErrnoRet = nil
            } == "linux.seccomp.defaultAction")
    }

    @Test("no profile, however strange, crashes the compiler")
    func fuzz() {
        var random = Seeded(11)
        let names = ["read", "clone", "mmap", "socket", "nope", "", "_sysctl", "arch_prctl", "socketcall"]
        for _ in 0..<Fuzz.rounds(3000) {
            var profile = Profile(defaultAction: KernelNames.seccompActions.randomElement(using: &random)!.name)
            profile.architectures = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                KernelNames.seccompArchitectures.randomElement(using: &random)!
            }
            profile.syscalls = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                Profile.Rule(
                    names: [names.randomElement(using: &random)!],
                    action: KernelNames.seccompActions.randomElement(using: &random)!.name,
                    errnoRet: UInt32.random(in: 0...5000, using: &random),
                    args: (0..<Int.random(in: 0...3, using: &random)).map { _ in
                        .init(
                            index: UInt32.random(in: 0...7, using: &random),
                            value: .random(in: 0 ... .max, using: &random),
                            valueTwo: .random(in: 0 ... .max, using: &random),
                            op: KernelNames.seccompOperators.randomElement(using: &random)!)
                    })
            }
            _ = try? SeccompFilter(SeccompPlan(profile))
        }
    }

    /// Classic BPF over struct seccomp_data {nr, arch, instruction pointer, six arguments}: what the kernel runs for
    /// each call.
    private func run(_ program: [UInt64], _ number: UInt32, _ architecture: UInt32, _ first: UInt64) -> UInt32 {
        var data = [UInt32](repeating: 0, count: 16)
        (data[0], data[1]) = (number, architecture)
        (data[4], data[5]) = (UInt32(truncatingIfNeeded: first), UInt32(first >> 32))
        var (accumulator, position): (UInt32, Int) = (0, 0)
        while position < program.count {
            let word = program[position]
            let (yes, no, value) = (Int(word >> 16 & 0xff), Int(word >> 24 & 0xff), UInt32(word >> 32))
            position += 1
            switch word & 0xffff {
            case 0x20: accumulator = data[Int(value) / 4]
            case 0x54: accumulator &= value
            case 0x05: position += Int(value)
            case 0x15: position += accumulator == value ? yes : no
            case 0x25: position += accumulator > value ? yes : no
            case 0x35: position += accumulator >= value ? yes : no
            case 0x45: position += accumulator & value != 0 ? yes : no
            case 0x06: return value
            default:
                Issue.record("instruction \(String(word & 0xffff, radix: 16)) is not known")
                return 0
            }
        }
        return 0
    }
}
