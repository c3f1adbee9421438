import Hypervisor
import LinuxKernel

extension QEMUArguments {
    /// The guest kernel's command line (Documentation/admin-guide/kernel-parameters.txt); the user's parameters come
    /// last and win.
    static func kernelParameters(_ qemu: QEMU, _ machine: VMConfiguration) -> [String] {
        let isEmulated = qemu.accelerator.accelerator == .tcg
        var words = ["console=ttyS0", "reboot=k", "panic=-1", "cryptomgr.notests", "net.ifnames=0", "no_timer_check"]
        words += ["i8042.noaux", "i8042.nomux", "i8042.nopnp", "i8042.dumbkbd", "rcupdate.rcu_expedited=1"]
        // Otherwise the first Swift process waits for the kernel's random numbers.
        words.append("random.trust_cpu=on")
        words += ["memhp_default_state=online", "nr_cpus=\(max(machine.vcpus, machine.maxVCPUs))"]
        // Virtio without an IOMMU needs no bounce buffers; the kernel would reserve 64 MiB as soon as memory may grow
        // past 4 GiB.
        words.append("swiotlb=noforce")
        // A scan of the controller's 256 targets takes emulated guests seconds: the agent scans for the disk that it
        // was given.
        words.append("scsi_mod.scan=manual")
        words += defaults.without(namesOf: machine.kernelParameters)
        if isEmulated {
            words += ["tsc=reliable", "noreplace-smp"] + ownKernel
            if qemu.hostKilohertz > 0 { words.append("tsc_early_khz=\(qemu.hostKilohertz)") }
        } else {
            words.append("tsc=reliable")
        }
        words += machine.image?.kernelParameters(debug: machine.debug) ?? []
        words.append(machine.debug ? "debug" : "quiet")
        return words + machine.kernelParameters
    }

    /// Parameters that the user's own replace.
    private static let defaults = [
        // ACPI reports devices in a root port (QEMU from 6.1 on): the port itself needs no driver.
        "pcie_ports=compat",
        // All buses are behind ports that the kernel knows. Its search for others asks for each device of each of 256
        // buses: 16,000 exits of the machine, of 20,000 for input and output in a boot.
        "pci=lastbus=0",
        // The board's devices need no detection either: a clock, and an interface at its fixed place.
        "pnpacpi=off",
        // Memory of sockets counts against the machine, not against a container's limit (docs/decisions/0011).
        "cgroup.memory=nosocket",
    ]

    /// Parameters of our own kernel's patches (apic-timer.patch, keep-initmem.patch); any other kernel ignores them.
    private static let ownKernel = ["apic.timer_khz=1000000", "initmem.keep=1"]
}
