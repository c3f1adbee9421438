import Configuration

/// Keys that only QEMU has.
extension Keys {
    package static let machineType = hypervisor(
        "machine_type", "q35", allowed: ["q35", "pc"], annotation: .free("machine_type"), "QEMU's machine type.")
    /// Options that switch a part of the machine on or off. None names a file or exposes the guest's memory.
    private static let machineWords = CommaWords(
        names: [
            "acpi", "hmat", "hpet", "i8042", "kernel-irqchip", "nvdimm", "pic", "pit", "sata", "smbus", "smm", "usb",
            "vmport",
        ], values: ["on", "off", "split", "auto"])
    package static let machineAccelerators = hypervisor(
        "machine_accelerators", "", annotation: .words("machine_accelerators", machineWords),
        "Options to add to -machine, separated by commas.")
    private static let processorWords = CommaWords(names: [], values: [])
    package static let cpuFeatures = hypervisor(
        "cpu_features", "pmu=off", annotation: .words("cpu_features", processorWords),
        "Options to add to -cpu, separated by commas.")
    package static let accelerator = hypervisor(
        "accelerator", "auto", allowed: ["auto", "kvm", "tcg"],
        "What runs the guest's code; auto: KVM if the host runs it in hardware, else TCG.")
    package static let seccompSandbox = hypervisor(
        "seccompsandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "QEMU's -sandbox option.")
}

extension QEMU {
    /// The keys that no other hypervisor has.
    package static let keys: [any AnyKey] = [
        Keys.machineType, Keys.machineAccelerators, Keys.cpuFeatures, Keys.accelerator, Keys.seccompSandbox,
    ]
}
