import Hypervisor
import Linux

/// What is known of a machine whose guest did not come up.
struct Symptoms: Sendable {
    var machine: VMConfiguration
    /// The console's last lines.
    var console: [String] = []
    /// QEMU's own words.
    var complaints: [String] = []
    var end: ProcessEnd?
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
        let root = machine.image?.path ?? machine.initrd ?? ""
        if symptoms.isOutOfHostMemory {
            return
                "the host's kernel killed QEMU: a control group's limit of memory is below what the machine needs (\(machine.memoryMiB) MiB and some 50 for QEMU)"
        }
        if symptoms.end == .signalled(31) {
            return "QEMU made a system call that its own filter forbids: see hypervisor.qemu.seccompsandbox"
        }
        for (words, cause) in refusals(machine) where symptoms.complaints.contains(where: { $0.mentions(words) }) {
            return cause
        }
        for (words, cause) in lastWords(machine, root) {
            if let line = symptoms.console.last(where: { $0.mentions(words) }) { return cause(line) }
        }
        if symptoms.end == nil, symptoms.processor == .idle || symptoms.processor == .program {
            return
                "is there a kata-agent in \(root), and vsock in the kernel? A slow host may need a longer agent.kata.dial_timeout"
        }
        return nil
    }

    /// What QEMU 7 to 9 says (hw/i386/x86.c, softmmu/vl.c, util/), and what it means for who configures it.
    private static func refusals(_ machine: VMConfiguration) -> [(words: String, cause: String)] {
        [
            ("could not load kernel", noKernel(machine)), ("without PVH ELF Note", noKernel(machine)),
            ("initrd is too large", "the initrd is too large for the machine's memory: raise default_memory"),
            (
                "could not load PC BIOS",
                "the firmware is missing (hypervisor.qemu.firmware; Debian's are in the package seabios)"
            ),
            ("too old to load a ram disk", noKernel(machine)), ("loading elf kernel", noKernel(machine)),
            ("KVM", noKVM), ("/kvm/", noKVM),
            (
                "phys-bits too low",
                "the machine may grow beyond what its processor can address: lower default_memory or default_maxmemory"
            ),
            (
                "set up guest memory",
                "the host has not the memory for a machine of \(machine.memoryMiB) MiB: lower default_memory"
            ),
            (
                "Cannot allocate memory",
                "the host has not the memory for a machine of \(machine.memoryMiB) MiB: lower default_memory"
            ),
            (
                "qemu_thread_create",
                "the host's limit of processes is reached (pids.max of the control group, ulimit -u)"
            ),
            (
                "Resource temporarily unavailable",
                "the host's limit of processes is reached (pids.max of the control group, ulimit -u)"
            ),
            ("Too many open files", "the host's limit of descriptors is reached (ulimit -n)"),
            ("cannot create PID file", "the disk of \(machine.pidFile) is full: No space left on device"),
            (
                "Failed to create thread",
                "the host's limit of processes is reached (pids.max of the control group, ulimit -u)"
            ),
            ("No space left on device", "the disk of \(machine.pidFile) is full: No space left on device"),
            ("unsupported machine type", refusedOption), ("Property '", refusedOption),
            ("nvalid parameter", refusedOption), ("invalid option", refusedOption),
            ("is not a valid", refusedOption), ("expects ", refusedOption), ("nvalid CPU", refusedOption),
        ]
    }

    private static func noKernel(_ machine: VMConfiguration) -> String {
        "\(machine.kernel) is no kernel that QEMU starts: a whole bzImage, or a vmlinux with a PVH note"
    }

    private static let noKVM = "KVM can't be used on this host: accelerator = \"tcg\" does without"

    private static let refusedOption =
        "QEMU refused an option: see machine_type, machine_accelerators, cpu_features and seccompsandbox below [hypervisor.qemu]"

    /// What the kernel or the agent says last (init/main.c, init/initramfs.c, kernel/exit.c), the surest first.
    private static func lastWords(_ machine: VMConfiguration, _ root: String) -> [(
        words: String, cause: (String) -> String
    )] {
        let rebuild = "build it anew with kata-osbuilder"
        let memory = "the machine's \(machine.memoryMiB) MiB are too little: raise default_memory"
        let kind = machine.image == nil ? "initrd" : "image"
        return [
            ("Out of memory", { _ in memory }), ("deadlocked on memory", { _ in memory }),
            ("write error", { _ in memory }),
            (
                "kata-agent: load module",
                { _ in
                    "the modules in \(root) are not those of the kernel \(machine.kernel): build it with --modules of that kernel"
                }
            ),
            ("version magic", { _ in "the modules in \(root) are not those of the kernel \(machine.kernel)" }),
            ("kata-agent: ", { "the agent gave up: \($0.drop { $0 != "k" })" }),
            ("Initramfs unpacking failed", { _ in "\(root) is damaged, or no initrd: \(rebuild)" }),
            ("unable to read superblock", { _ in "the image \(root) is damaged: \(rebuild)" }),
            ("erofs: ", { _ in "the image \(root) is damaged: \(rebuild)" }),
            ("EXT4-fs error", { _ in "the image \(root) is damaged: \(rebuild)" }),
            ("Unable to mount root fs", { _ in unreadable(machine, root) }),
            ("Cannot open root device", { _ in unreadable(machine, root) }),
            ("No working init found", { _ in "\(root) has no agent that runs: \(rebuild)" }),
            ("Requested init", { _ in "\(root) has no agent that runs: \(rebuild)" }),
            ("Failed to execute", { _ in "\(root) has no agent that runs: \(rebuild)" }),
            ("Attempted to kill init", { _ in "the agent in \(root) died: \(rebuild) if it is damaged" }),
            (
                "Kernel panic - not syncing: ",
                { "the guest's kernel gave up on its \(kind) \(root) or on itself: \($0.suffix(80))" }
            ),
        ]
    }

    private static func unreadable(_ machine: VMConfiguration, _ root: String) -> String {
        machine.image == nil
            ? "the initrd \(root) has no agent (/init, or what kernel_params name), or the kernel \(machine.kernel) can't read it: that takes BLK_DEV_INITRD and its compression"
            : "the kernel \(machine.kernel) can't read the image \(root): it needs its drivers built in (kata-osbuilder kernel check; make kernel builds one that has them)"
    }
}
