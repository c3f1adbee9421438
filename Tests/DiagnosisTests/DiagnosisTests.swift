import Hypervisor
import LinuxKernel
import QEMU
import TestSupport
import Testing

@testable import Diagnosis

/// Consoles and words of QEMU 7.2 as real guests left them.
@Suite("The report of a failed boot")
struct DiagnosisTests {
    struct Recorded: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var console: [String] = []
        var complaints: [String] = []
        var end: ProcessExit? = .exited(0)
        var processor: ProcessorState?
        var hasImage = false
        var isRootless = false
        var bootBytes = 0
        let stage: Diagnosis.Progress
        /// Words of the cause; nil: none is known.
        let cause: String?
    }

    private static let noRoot = [
        "[    0.665589] /dev/root: Can't open blockdev",
        "[    0.666026] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ]
    private static let killed = "[    0.671058] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000007"
    private static let noInit =
        "[    0.604415] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel. See Linux Documentation/admin-guide/init.rst for guidance."

    static let recorded: [Recorded] = [
        .init(
            testDescription: "a kernel that QEMU's own user can't read",
            complaints: ["qemu: could not open kernel file '/k': Permission denied"], end: .exited(1), isRootless: true,
            stage: .hypervisor, cause: "with rootless = true QEMU runs as another user"),
        .init(
            testDescription: "an initrd that was cut short",
            console: ["[    0.603341] Failed to execute /init (error -26)", noInit], stage: .kernel,
            cause: "/i has no agent that runs"),
        .init(
            testDescription: "garbage as initrd",
            console: ["[    0.530749] Initramfs unpacking failed: invalid magic at start of compressed archive"]
                + noRoot,
            stage: .kernel, cause: "/i is damaged, or no initrd"),
        .init(testDescription: "an initrd without /init", console: noRoot, stage: .kernel, cause: "/i has no agent"),
        .init(
            testDescription: "an image without its driver", console: noRoot, hasImage: true, stage: .kernel,
            cause: "can't read the image /r: it needs its drivers built in"),
        .init(
            testDescription: "too little memory for the initrd",
            console: ["[    0.556752] Initramfs unpacking failed: write error", killed], stage: .initial,
            cause: "64 MiB are too little: raise default_memory"),
        .init(
            testDescription: "too little memory for the agent",
            console: ["[    0.9] Out of memory: Killed process 44 (kata-agent) total-vm:1kB", killed], stage: .initial,
            cause: "64 MiB are too little"),
        .init(
            testDescription: "a damaged agent", console: [killed], stage: .initial, cause: "the agent in /i died"),
        .init(
            testDescription: "modules of another kernel",
            console: ["kata-agent: load module /lib/modules/fuse.ko: Exec format error", killed], stage: .agent,
            cause: "the modules in /i are not those of the kernel /k"),
        .init(
            testDescription: "an agent that says why",
            console: ["kata-agent: mount /dev: Operation not permitted", killed], stage: .agent,
            cause: "the agent in /i could not make the guest ready"),
        .init(
            testDescription: "an agent that is at work", end: nil, processor: .program, stage: .initial,
            cause: "is there a kata-agent in /i"),
        .init(
            testDescription: "an init that sleeps", end: nil, processor: .idle, stage: .idle,
            cause: "is there a kata-agent in /i"),
        .init(testDescription: "a kernel that hangs", end: nil, processor: .kernel, stage: .kernel, cause: nil),
        .init(testDescription: "a firmware that hangs", end: nil, processor: .firmware, stage: .firmware, cause: nil),
        .init(testDescription: "a QEMU that is killed", end: .signalled(9), stage: .silent, cause: nil),
        .init(
            testDescription: "a program as kernel",
            complaints: ["qemu-system-x86_64: Error loading uncompressed kernel without PVH ELF Note"], end: .exited(1),
            stage: .hypervisor, cause: "/k is no kernel that QEMU starts"),
        .init(
            testDescription: "a text as kernel", complaints: ["qemu: linux kernel too old to load a ram disk"],
            end: .exited(1), stage: .hypervisor, cause: "/k is no kernel that QEMU starts"),
        .init(
            testDescription: "a kernel that was cut short",
            complaints: ["qemu-system-x86_64: Error while loading elf kernel"], end: .exited(1), stage: .hypervisor,
            cause: "/k is no kernel that QEMU starts"),
        .init(
            testDescription: "an option of the machine",
            complaints: ["qemu-system-x86_64: Property 'pc-q35-7.2-machine.nonsense' not found"], end: .exited(1),
            stage: .hypervisor, cause: "QEMU refused an option"),
        .init(
            testDescription: "an option of the filter",
            complaints: ["qemu-system-x86_64: -sandbox on,nonsense=deny: Invalid parameter 'nonsense'"],
            end: .exited(1), stage: .hypervisor, cause: "QEMU refused an option"),
        .init(
            testDescription: "a missing firmware", complaints: ["qemu: could not load PC BIOS '/nowhere'"],
            end: .exited(1), stage: .hypervisor, cause: "the firmware is missing"),
        .init(
            testDescription: "more memory than can be addressed",
            complaints: ["qemu-system-x86_64: Address space limit 0xffffffffff < 0x4d83fffffff phys-bits too low (40)"],
            end: .exited(1), stage: .hypervisor, cause: "lower default_memory or default_maxmemory"),
        .init(
            testDescription: "a KVM that is none",
            complaints: [
                "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69",
                "qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.",
            ], end: .signalled(6), stage: .hypervisor, cause: "KVM can't be used on this host"),
        .init(
            testDescription: "a KVM that QEMU's user may not open",
            complaints: ["Could not access KVM kernel module: Permission denied"], end: .exited(1), isRootless: true,
            stage: .hypervisor, cause: "give /dev/kvm a group that is not root's"),
        .init(
            testDescription: "a system call that QEMU's filter forbids", end: .signalled(31), stage: .silent,
            cause: "hypervisor.qemu.seccompsandbox"),
        .init(
            testDescription: "a kernel that fills the memory", bootBytes: 77_000_000, stage: .silent,
            cause: "64 MiB are too little: raise default_memory"),
        .init(
            testDescription: "a kernel that ends at once, with memory enough", bootBytes: 45_000_000, stage: .silent,
            cause: nil),
    ]

    private static func symptoms(_ recorded: Recorded) -> Symptoms {
        var machine = VMConfiguration(name: "s", directory: "", consoleFile: "", kernel: OpenFile(named: "/k"))
        machine.memoryMiB = 64
        if recorded.isRootless { machine.user = ProcessUser(user: 4242, group: 4242) }
        if recorded.hasImage {
            machine.image = RootImage(OpenFile(named: "/r"), bytes: 1 << 20, fileSystem: .ext4)
        } else {
            machine.initrd = OpenFile(named: "/i")
        }
        var symptoms = Symptoms(machine, QEMU(executable: "/q", accelerator: .init(.tcg, "a test")))
        (symptoms.console, symptoms.stderrLines) = (recorded.console, recorded.complaints)
        (symptoms.exit, symptoms.processor, symptoms.bootBytes) = (recorded.end, recorded.processor, recorded.bootBytes)
        return symptoms
    }

    @Test("how far it came, and the likely reason", arguments: recorded)
    func diagnosis(_ recorded: Recorded) throws {
        let diagnosis = Diagnosis(Self.symptoms(recorded))
        #expect(diagnosis.progress == recorded.stage)
        if let words = recorded.cause {
            #expect(diagnosis.cause?.contains(words) == true, "\(diagnosis.cause ?? "none")")
        } else {
            #expect(diagnosis.cause == nil)
        }
    }

    @Test("certain facts come first: an agent that has answered, the host's lack of memory")
    func sure() {
        var symptoms = Self.symptoms(Self.recorded[0])
        (symptoms.isAnnounced, symptoms.lackOfHostMemory) = (true, "the cgroup /a reached its limit of memory")
        let diagnosis = Diagnosis(symptoms)
        #expect(
            diagnosis.progress == .announced && diagnosis.cause?.contains("/a reached its limit of memory") == true)
    }

    @Test("any garbage on the console and from QEMU gives an answer: fuzz")
    func garbage() {
        var random = Seeded(11)
        let words = Self.recorded.flatMap { $0.console + $0.complaints }
        for _ in 0..<Fuzz.rounds(500) {
            func lines() -> [String] {
                (0..<Int.random(in: 0...5, using: &random)).map { _ in
                    var bytes = Array(words.randomElement(using: &random)!.utf8)
                    for _ in 0..<Int.random(in: 0...8, using: &random) where !bytes.isEmpty {
                        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                            in: 0x20...0x7e, using: &random)
                    }
                    return String(
                        decoding: bytes.prefix(Int.random(in: 0...bytes.count, using: &random)), as: UTF8.self)
                }
            }
            var symptoms = Self.symptoms(Self.recorded.randomElement(using: &random)!)
            (symptoms.console, symptoms.stderrLines) = (lines(), lines())
            #expect((Diagnosis(symptoms).cause ?? "one line").contains("\n") == false)
        }
    }
}
