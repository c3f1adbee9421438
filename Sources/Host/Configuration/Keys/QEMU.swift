/// Keys that only QEMU has.
extension Keys {
    package static let path = hypervisor(
        "path", .program, "/usr/bin/qemu-system-x86_64", annotation: ("path", validHypervisorPaths),
        "The hypervisor's program.")
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
    package static let virtioMem = hypervisor(
        "enable_virtio_mem", true, annotation: .free("enable_virtio_mem"),
        "Resize memory by a virtio-mem device; false: only add memory, by modules (pc-dimm) in memory_slots.")
    package static let rootPorts = hypervisor(
        "pcie_root_port", 4, in: 0...16, annotation: .free("pcie_root_port"),
        "PCIe root ports, each for one hot-plugged device.")
    package static let seccompSandbox = hypervisor(
        "seccompsandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "QEMU's -sandbox option.")

    static let qemuKeys: [any AnyKey] = [
        path, machineType, machineAccelerators, cpuFeatures, accelerator, virtioMem, rootPorts, seccompSandbox,
    ]
}
