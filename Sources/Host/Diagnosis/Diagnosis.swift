import Hypervisor
import LinuxKernel

/// The known facts about a machine whose guest did not come up.
package struct Symptoms: Sendable {
    package var machine: VMConfiguration
    package var hypervisor: any Hypervisor
    /// Bytes of the guest's kernel and initrd, which both are in its memory.
    package var bootBytes = 0
    /// The console's last lines.
    package var console: [String] = []
    /// The last lines that the hypervisor and its helpers wrote.
    package var stderrLines: [String] = []
    package var exit: ProcessExit?
    /// The position of its first processor, while the machine lived.
    package var processor: ProcessorState?
    /// The agent has answered.
    package var isAnnounced = false
    /// The reason why the host's kernel has killed in the machine's cgroup for lack of memory; nil when it has not.
    package var lackOfHostMemory: String?

    package init(_ machine: VMConfiguration, _ hypervisor: any Hypervisor) {
        (self.machine, self.hypervisor) = (machine, hypervisor)
    }
}

/// The progress of a guest, and the likely reason why it stopped there: a total function of the symptoms.
package struct Diagnosis: Equatable, Sendable {
    /// The progress of the boot.
    package enum Progress: Sendable {
        case hypervisor, silent, firmware, kernel, idle, initial, agent, announced

        /// - Parameter hypervisor: the hypervisor's name.
        package func text(_ hypervisor: String) -> String {
            switch self {
            case .hypervisor: "\(hypervisor) did not start its machine"
            case .silent: "nothing was heard of its kernel"
            case .firmware: "its kernel was not entered"
            case .kernel: "it came as far as its kernel"
            case .idle: "its kernel runs and has nothing to do"
            case .initial: "it came as far as its first program"
            case .agent: "it came as far as its agent, which did not reach the host"
            case .announced: "its agent has answered"
            }
        }
    }

    package let progress: Progress
    /// The likely reason and what to do; nil where neither is known.
    package let cause: String?

    package init(_ symptoms: Symptoms) {
        progress = Self.progress(symptoms)
        cause = Self.cause(symptoms)
    }

    // MARK: Progress

    private static func progress(_ symptoms: Symptoms) -> Progress {
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
        // A quiet kernel without faults prints nothing.
        if !symptoms.console.isEmpty { return .kernel }
        if case .exited(1...) = symptoms.exit { return .hypervisor }
        return symptoms.stderrLines.isEmpty ? .silent : .hypervisor
    }

    // MARK: Cause

    private static func cause(_ symptoms: Symptoms) -> String? {
        let (machine, name) = (symptoms.machine, symptoms.hypervisor.name)
        let root = machine.image?.path ?? machine.initrd?.path ?? ""
        if let reason = symptoms.lackOfHostMemory {
            return "the host's kernel killed \(name), whose guest has \(machine.memoryMiB) MiB: \(reason)"
        }
        let failure = VMFailure(exit: symptoms.exit, messages: symptoms.stderrLines)
        if let cause = symptoms.hypervisor.cause(of: failure, machine) { return cause }
        // A kernel with too little memory ends before it has a console.
        if symptoms.console.isEmpty, symptoms.stderrLines.isEmpty, symptoms.exit == .exited(0),
            symptoms.bootBytes >> 20 + roomToStart > machine.memoryMiB
        {
            return tooLittle(machine)
        }
        if let reason = consoleCauses(machine, root).first(where: { $0.applies(to: symptoms.console) }) {
            return reason.cause
        }
        if symptoms.exit == nil, symptoms.processor == .idle || symptoms.processor == .program {
            return
                "is there a kata-agent in \(root), and vsock in the kernel? A slow host may need a longer agent.kata.dial_timeout"
        }
        return nil
    }

    /// Memory that a kernel takes before it has a console, in MiB.
    private static let roomToStart = 16

    private static func tooLittle(_ machine: VMConfiguration) -> String {
        "the machine's \(machine.memoryMiB) MiB are too little: raise default_memory"
    }

    /// Last messages of the kernel or the agent (init/main.c, init/initramfs.c, kernel/exit.c), the most reliable
    /// first.
    private static func consoleCauses(_ machine: VMConfiguration, _ root: String) -> [KnownMessage] {
        let rebuild = "build it anew with kata-osbuilder"
        return [
            KnownMessage(
                "Out of memory", "deadlocked on memory", "write error", means: tooLittle(machine)),
            KnownMessage(
                "kata-agent: load module", "version magic",
                means:
                    "the modules in \(root) are not those of the kernel \(machine.kernel.path): build it with --modules of that kernel"
            ),
            // The agent's own message follows in the error and gives the reason.
            KnownMessage(
                "kata-agent: mount", "kata-agent: make directory", "kata-agent: enter", "kata-agent: start thread",
                means: "the agent in \(root) could not make the guest ready"),
            KnownMessage("Initramfs unpacking failed", means: "\(root) is damaged, or no initrd: \(rebuild)"),
            KnownMessage(
                "unable to read superblock", "valid erofs superblock", "EXT4-fs error",
                means: "the image \(root) is damaged: \(rebuild)"),
            KnownMessage(
                "Unable to mount root fs", "Cannot open root device",
                means: machine.image == nil
                    ? "the initrd \(root) has no agent (/init, or what kernel_params name), or the kernel \(machine.kernel.path) can't read it: that takes BLK_DEV_INITRD and its compression"
                    : "the kernel \(machine.kernel.path) can't read the image \(root): it needs its drivers built in (kata-osbuilder kernel check; make kernel builds one that has them)"
            ),
            KnownMessage(
                "No working init found", "Requested init", "Failed to execute",
                means: "\(root) has no agent that runs: \(rebuild)"),
            KnownMessage(
                "Attempted to kill init", means: "the agent in \(root) died: \(rebuild) if it is damaged"),
        ]
    }
}
