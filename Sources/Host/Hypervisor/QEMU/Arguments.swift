import Hypervisor

/// QEMU's command line for a machine (qemu-system-x86_64(1)): a pure function, golden-tested.
enum QEMUArguments {
    static func build(_ qemu: QEMU, _ machine: VMConfiguration) -> [String] {
        base(qemu, machine) + memory(machine) + ["-sandbox", qemu.seccompSandbox] + boot(qemu, machine)
            + monitorAndConsole + devices(machine) + ports(machine)
    }

    private static func base(_ qemu: QEMU, _ machine: VMConfiguration) -> [String] {
        var type = qemu.machineType
        if type == "q35" { type += ",smm=off,sata=off,smbus=off,vmport=off,hpet=off" }
        // Keeps the guest's memory out of core files.
        type += ",memory-backend=ram,dump-guest-core=off"
        if !qemu.machineAccelerators.isEmpty { type += "," + qemu.machineAccelerators }
        // One socket with the maximum of cores: a processor that is added later is named by its core's number.
        let most = max(machine.vcpus, machine.maxVCPUs)
        return [
            "-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-name", "sandbox-\(machine.name)",
            "-machine", type, "-accel", acceleration(qemu),
            "-cpu", processor(qemu),
            "-smp", "\(machine.vcpus),sockets=1,cores=\(most),threads=1,maxcpus=\(most)",
        ]
    }

    private static func acceleration(_ qemu: QEMU) -> String {
        guard qemu.accelerator.accelerator == .tcg else { return "kvm" }
        return "tcg,thread=multi,tb-size=\(QEMU.translationBufferMiB)"
    }

    /// TCG runs `rep stosb` and `rep movsb` a byte at a time: without these two bits kernel and programs clear and copy
    /// by words.
    private static func processor(_ qemu: QEMU) -> String {
        let model = qemu.accelerator.accelerator == .tcg ? "max,erms=off,fsrm=off" : "host"
        return model + (qemu.cpuFeatures.isEmpty ? "" : "," + qemu.cpuFeatures)
    }

    private static func memory(_ machine: VMConfiguration) -> [String] {
        let grows = machine.memorySlots > 0 && machine.maxMemoryMiB > machine.memoryMiB
        let image = machine.image?.memoryMiB ?? 0
        let maximum = (grows ? machine.maxMemoryMiB : machine.memoryMiB) + image
        // A slot is for a module. virtio-mem needs none, and the guest's kernel polls the state of each slot.
        let slots = machine.virtioMem ? 1 : max(1, machine.memorySlots)
        let amount =
            "\(machine.memoryMiB)M" + (grows || image > 0 ? ",slots=\(slots),maxmem=\(maximum)M" : "")
        // Shared: the vhost-user devices map it.
        let size = "size=\(machine.memoryMiB)M,share=on"
        let backend =
            switch machine.memory {
            case .own: "memory-backend-memfd,id=ram,\(size)"
            case .file, .saved:
                "memory-backend-file,id=ram,\(size),mem-path=\(QEMUDescriptor.path(QEMUDescriptor.memory))"
            }
        return ["-m", amount, "-object", backend] + (machine.memory == .saved ? ["-incoming", "defer", "-S"] : [])
    }

    private static func boot(_ qemu: QEMU, _ machine: VMConfiguration) -> [String] {
        var arguments: [String] = []
        switch machine.firmware {
        case .named(let name): arguments += ["-bios", name]
        case .file: arguments += ["-bios", QEMUDescriptor.path(QEMUDescriptor.firmware)]
        case .fastest: if qemu.machineType == "q35" { arguments += ["-bios", "qboot.rom"] }
        }
        // A template has all these in its memory.
        guard machine.memory != .saved else { return arguments }
        arguments += ["-kernel", QEMUDescriptor.path(QEMUDescriptor.kernel)]
        if machine.initrd != nil { arguments += ["-initrd", QEMUDescriptor.path(QEMUDescriptor.initrd)] }
        return arguments + ["-append", kernelParameters(qemu, machine).joined(separator: " ")]
    }

    private static let monitorAndConsole = [
        "-chardev", "socket,id=qmp,fd=\(QEMUDescriptor.monitor),server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
        "-chardev", "socket,id=console,fd=\(QEMUDescriptor.console)", "-serial", "chardev:console",
    ]

    private static func devices(_ machine: VMConfiguration) -> [String] {
        var arguments: [String] = []
        func add(_ option: String, _ value: String) { arguments += [option, value] }
        add("-object", "rng-random,id=rng,filename=\(escaped(machine.entropySource))")
        add("-device", "virtio-rng-pci,rng=rng,max-bytes=1024,period=1000")
        if machine.reclaimsMemory { add("-device", "virtio-balloon-pci,free-page-reporting=on") }
        arguments += machine.image.map(image) ?? []
        if machine.vsockSocket != nil {
            add("-chardev", "socket,id=vsock,fd=\(QEMUDescriptor.vsock)")
            add("-device", "vhost-user-vsock-pci,chardev=vsock")
        }
        if let cid = machine.hostVsockCID {
            add("-device", "vhost-vsock-pci,guest-cid=\(cid),vhostfd=\(QEMUDescriptor.vsock)")
        }
        if machine.shareSocket != nil {
            add("-chardev", "socket,id=share,fd=\(QEMUDescriptor.share)")
            add(
                "-device",
                "vhost-user-fs-pci,chardev=share,tag=\(machine.shareTag),queue-size=\(machine.shareQueueSize)")
        }
        return arguments
    }

    /// The guest's root file system.
    private static func image(_ image: RootImage) -> [String] {
        switch image.driver {
        case .pmem:
            return [
                "-object",
                "memory-backend-file,id=image,mem-path=\(QEMUDescriptor.path(QEMUDescriptor.image)),size=\(image.bytes),share=on,readonly=on",
                "-device", "virtio-pmem-pci,memdev=image",
            ]
        case .block:
            // Opens the inherited descriptor itself, which needs no permission. Disks that come later have sets from
            // 1 on (`DiskTable`).
            return [
                "-add-fd", "fd=\(QEMUDescriptor.image),set=0",
                "-drive", "if=none,id=image,file=/dev/fdset/0,format=raw,readonly=on",
                "-device", "virtio-blk-pci,drive=image",
            ]
        }
    }

    /// Root ports for devices that come later.
    private static func ports(_ machine: VMConfiguration) -> [String] {
        (0..<machine.hotPlugPorts).flatMap { port in
            let slot = String(DeviceSlots.firstSlot + port, radix: 16)
            return [
                "-device",
                "pcie-root-port,id=port\(port),bus=pcie.0,addr=0x\(slot),chassis=\(port + 1),slot=\(port + 1)",
            ]
        }
    }

    /// Doubles commas: a single one ends a value in QEMU's option lists.
    static func escaped(_ value: String) -> String {
        value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }
}
