import Hypervisor
import LinuxKernel

/// What is known of a machine whose guest did not come up.
struct Symptoms: Sendable {
    var machine: VMConfiguration
    /// Bytes of its kernel and initrd, which both are in its memory.
    var bootBytes = 0
    /// The console's last lines.
    var console: [String] = []
    /// QEMU's own words.
    var complaints: [String] = []
    var end: ProcessExit?
    /// Where its processor was, while QEMU lived.
    var processor: ProcessorState?
    /// The agent has answered.
    var isAnnounced = false
    /// The host's kernel has killed in the machine's control group for want of memory.
    var isOutOfHostMemory = false
}

/// How far a guest came, and the likely reason that it came no further: a total function of what is known.
struct Diagnosis: Equatable, Sendable {
    enum Stage: String, Sendable {
        case hypervisor = "QEMU did not start its machine"
        case silent = "nothing was heard of its kernel"
        case firmware = "its kernel was not entered"
        case kernel = "it came as far as its kernel"
        case idle = "its kernel runs and has nothing to do"
        case initial = "it came as far as its first program"
        case agent = "it came as far as its agent, which did not reach the host"
        case announced = "its agent has answered"
    }

    let stage: Stage
    /// What to do about it; nil where we don't know.
    let cause: String?

    init(_ symptoms: Symptoms) {
        stage = Self.stage(symptoms)
        cause = Self.cause(symptoms)
    }

    // MARK: How far it came

    private static func stage(_ symptoms: Symptoms) -> Stage {
        func says(_ words: String...) -> Bool {
            symptoms.console.contains { line in words.contains { line.mentions($0) } }
        }
        if symptoms.isAnnounced { return .announced }
        if says("kata-agent:") { return .agent }
        if says("Attempted to kill init", "as init process", "systemd[1]") { return .initial }
        switch symptoms.processor {
        case .program: return .initial
        case .kernel: return .kernel
        case .idle: return .idle
        case .firmware: return .firmware
        case nil: break
        }
        // A quiet kernel that is well says nothing.
        if !symptoms.console.isEmpty { return .kernel }
        if case .exited(1...) = symptoms.end { return .hypervisor }
        return symptoms.complaints.isEmpty ? .silent : .hypervisor
    }

    // MARK: Why

    private static func cause(_ symptoms: Symptoms) -> String? {
        let machine = symptoms.machine
        let root = machine.image?.path ?? machine.initrd?.path ?? ""
        if symptoms.isOutOfHostMemory {
            return
                "the host's kernel killed QEMU: a control group's limit of memory is below what the machine needs (\(machine.memoryMiB) MiB and some 50 for QEMU)"
        }
        if symptoms.end == .signalled(31) {
            return "QEMU made a system call that its own filter forbids: see hypervisor.qemu.seccompsandbox"
        }
        if let refusal = refusals(machine).first(where: { $0.applies(to: symptoms.complaints) }) {
            return refusal.cause
        }
        if machine.user != nil, symptoms.complaints.contains(where: { $0.mentions("Permission denied") }) {
            return
                "with rootless = true QEMU runs as another user, who may not open one of its own files: make hypervisor.qemu.path and its libraries readable by everybody"
        }
        // A kernel that has no room beside itself ends before it has a console.
        if symptoms.console.isEmpty, symptoms.complaints.isEmpty, symptoms.end == .exited(0),
            symptoms.bootBytes >> 20 + roomToStart > machine.memoryMiB
        {
            return tooLittle(machine)
        }
        if let reason = lastWords(machine, root).first(where: { $0.applies(to: symptoms.console) }) {
            return reason.cause
        }
        if symptoms.end == nil, symptoms.processor == .idle || symptoms.processor == .program {
            return
                "is there a kata-agent in \(root), and vsock in the kernel? A slow host may need a longer agent.kata.dial_timeout"
        }
        return nil
    }

    /// What a kernel takes before it has a console, in MiB.
    private static let roomToStart = 16

    private static func tooLittle(_ machine: VMConfiguration) -> String {
        "the machine's \(machine.memoryMiB) MiB are too little: raise default_memory"
    }

    /// What one of several words means for who configures the machine.
    private struct Meaning {
        let words: [String]
        let cause: String
        init(_ words: String..., means cause: String) { (self.words, self.cause) = (words, cause) }

        func applies(to lines: [String]) -> Bool { lines.contains { line in words.contains { line.mentions($0) } } }
    }

    /// What QEMU and virtiofsd say (QEMU 7 to 9: hw/i386/x86.c, softmmu/vl.c, util/; virtiofsd: fuse_virtio.c).
    private static func refusals(_ machine: VMConfiguration) -> [Meaning] {
        [
            Meaning(
                "could not load kernel", "without PVH ELF Note", "too old to load a ram disk", "loading elf kernel",
                means:
                    "\(machine.kernel.path) is no kernel that QEMU starts: a whole bzImage, or a vmlinux with a PVH note"
            ),
            Meaning(
                "initrd is too large", means: "the initrd is too large for the machine's memory: raise default_memory"),
            Meaning(
                "could not load PC BIOS",
                means: "the firmware is missing (hypervisor.qemu.firmware; Debian's are in the package seabios)"),
            Meaning(
                "KVM", "/kvm/", means: "KVM can't be used on this host: accelerator = \"tcg\" does without"),
            Meaning(
                "phys-bits too low",
                means:
                    "the machine may grow beyond what its processor can address: lower default_memory or default_maxmemory"
            ),
            Meaning(
                "set up guest memory", "Cannot allocate memory",
                means: "the host has not the memory for a machine of \(machine.memoryMiB) MiB: lower default_memory"),
            Meaning(
                "qemu_thread_create", "Failed to create thread", "Resource temporarily unavailable",
                means: "the host's limit of processes is reached (pids.max of the control group, ulimit -u)"),
            Meaning("Too many open files", means: "the host's limit of descriptors is reached (ulimit -n)"),
            Meaning(
                "No space left on device", means: "the disk of \(machine.pidFile) is full: no space left on device"),
            Meaning(
                "unsupported machine type", "Property '", "nvalid parameter", "invalid option", "is not a valid",
                "expects ", "nvalid CPU",
                means:
                    "QEMU refused an option: see machine_type, machine_accelerators, cpu_features and seccompsandbox below [hypervisor.qemu]"
            ),
        ]
    }

    /// What the kernel or the agent says last (init/main.c, init/initramfs.c, kernel/exit.c), the surest first.
    private static func lastWords(_ machine: VMConfiguration, _ root: String) -> [Meaning] {
        let rebuild = "build it anew with kata-osbuilder"
        return [
            Meaning(
                "Out of memory", "deadlocked on memory", "write error", means: tooLittle(machine)),
            Meaning(
                "kata-agent: load module", "version magic",
                means:
                    "the modules in \(root) are not those of the kernel \(machine.kernel.path): build it with --modules of that kernel"
            ),
            // Its own words are the reason, and stand behind this.
            Meaning(
                "kata-agent: mount", "kata-agent: make directory", "kata-agent: enter", "kata-agent: start thread",
                means: "the agent in \(root) could not make the guest ready"),
            Meaning("Initramfs unpacking failed", means: "\(root) is damaged, or no initrd: \(rebuild)"),
            Meaning(
                "unable to read superblock", "valid erofs superblock", "EXT4-fs error",
                means: "the image \(root) is damaged: \(rebuild)"),
            Meaning(
                "Unable to mount root fs", "Cannot open root device",
                means: machine.image == nil
                    ? "the initrd \(root) has no agent (/init, or what kernel_params name), or the kernel \(machine.kernel.path) can't read it: that takes BLK_DEV_INITRD and its compression"
                    : "the kernel \(machine.kernel.path) can't read the image \(root): it needs its drivers built in (kata-osbuilder kernel check; make kernel builds one that has them)"
            ),
            Meaning(
                "No working init found", "Requested init", "Failed to execute",
                means: "\(root) has no agent that runs: \(rebuild)"),
            Meaning(
                "Attempted to kill init", means: "the agent in \(root) died: \(rebuild) if it is damaged"),
        ]
    }
}
