import Hypervisor
import LinuxKernel

/// The meaning of QEMU's messages for the operator.
extension QEMU {
    package func cause(of failure: VMFailure, _ machine: VMConfiguration) -> String? {
        if failure.exit == .signalled(Self.badSystemCall) {
            return "QEMU made a system call that its own filter forbids: see hypervisor.qemu.seccompsandbox"
        }
        if let refusal = Self.refusals(machine).first(where: { $0.applies(to: failure.messages) }) {
            return refusal.cause
        }
        if Self.kvm.applies(to: failure.messages) { return noKVM(failure, machine) + Self.withoutKVM }
        if machine.user != nil, failure.messages.contains(where: { $0.mentions("Permission denied") }) {
            return
                "with rootless = true QEMU runs as another user, who may not open one of its own files: make hypervisor.qemu.path and its libraries readable by everybody"
        }
        return nil
    }

    /// The reason why QEMU can't use KVM. This process is root, QEMU may not be.
    private func noKVM(_ failure: VMFailure, _ machine: VMConfiguration) -> String {
        if let unusableReason { return unusableReason }
        if machine.user != nil, failure.messages.contains(where: { $0.mentions("Permission denied") }) {
            return
                "with rootless = true QEMU runs as another user: give /dev/kvm a group that is not root's, and mode 660"
        }
        return "KVM can't be used on this host"
    }

    private static let kvm = KnownMessage("KVM", "/kvm/", means: "")
    private static let withoutKVM = "; accelerator = \"tcg\" does without"

    /// SIGSYS (signal(7)).
    private static let badSystemCall: Int32 = 31

    /// Messages of QEMU and virtiofsd (QEMU 7 to 9: hw/i386/x86.c, softmmu/vl.c, util/; virtiofsd: fuse_virtio.c).
    private static func refusals(_ machine: VMConfiguration) -> [KnownMessage] {
        [
            KnownMessage(
                "could not load kernel", "without PVH ELF Note", "too old to load a ram disk", "loading elf kernel",
                means:
                    "\(machine.kernel.path) is no kernel that QEMU starts: a whole bzImage, or a vmlinux with a PVH note"
            ),
            KnownMessage(
                "initrd is too large", means: "the initrd is too large for the machine's memory: raise default_memory"),
            KnownMessage(
                "could not load PC BIOS",
                means: "the firmware is missing (hypervisor.qemu.firmware; Debian's are in the package seabios)"),
            KnownMessage(
                "phys-bits too low",
                means:
                    "the machine may grow beyond what its processor can address: lower default_memory or default_maxmemory"
            ),
            KnownMessage(
                "set up guest memory", "Cannot allocate memory",
                means: "the host has not the memory for a machine of \(machine.memoryMiB) MiB: lower default_memory"),
            KnownMessage(
                "qemu_thread_create", "Failed to create thread", "Resource temporarily unavailable",
                means: "the host's limit of processes is reached (pids.max of the cgroup, ulimit -u)"),
            KnownMessage("Too many open files", means: "the host's limit of descriptors is reached (ulimit -n)"),
            KnownMessage(
                "No space left on device", means: "the disk of \(machine.pidFile) is full: no space left on device"),
            KnownMessage(
                "unsupported machine type", "Property '", "nvalid parameter", "invalid option", "is not a valid",
                "expects ", "nvalid CPU",
                means:
                    "QEMU refused an option: see machine_type, machine_accelerators, cpu_features and seccompsandbox below [hypervisor.qemu]"
            ),
        ]
    }
}
