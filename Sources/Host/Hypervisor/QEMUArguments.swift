/// QEMU's command line for a machine (qemu-system-x86_64(1)): a pure function, golden-tested.
package enum QEMUArguments {
    /// The descriptor on which QEMU finds its QMP listener.
    package static let qmpDescriptor: Int32 = 3
    /// The one to which the guest's console goes.
    package static let consoleDescriptor: Int32 = 5

    /// The descriptor of a saved machine's memory, or of the file in which it is to be saved.
    package static let memoryDescriptor: Int32 = 4
    /// Connections to the backends of vhost-user devices.
    package static let vsockDescriptor: Int32 = 6
    package static let shareDescriptor: Int32 = 7
    /// What the guest boots. QEMU opens them through /proc/self/fd: the files that were checked, whatever their paths have become.
    static let kernelDescriptor: Int32 = 8
    static let initrdDescriptor: Int32 = 9
    static let imageDescriptor: Int32 = 10
    static let firmwareDescriptor: Int32 = 11

    static func path(_ descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

    package static func build(_ machine: VMConfiguration) -> [String] {
        let tcg = machine.accelerator == .tcg
        var arguments: [String] = []
        func add(_ option: String, _ value: String) { arguments += [option, value] }

        arguments += ["-nodefaults", "-no-user-config", "-no-reboot", "-nographic"]
        add("-name", "sandbox-\(machine.name)")
        var type = machine.machineType
        if type == "q35" { type += ",smm=off,sata=off,smbus=off,vmport=off,hpet=off" }
        // The guest's memory stays out of a core file.
        type += ",memory-backend=ram,dump-guest-core=off"
        if !machine.machineAccelerators.isEmpty { type += "," + machine.machineAccelerators }
        add("-machine", type)
        add("-accel", tcg ? "tcg,thread=multi" : "kvm")
        add("-cpu", processor(machine))
        // One socket of as many cores as there may be: a processor that is plugged in later is told by its core's number.
        let most = max(machine.vcpus, machine.maxVCPUs)
        add("-smp", "\(machine.vcpus),sockets=1,cores=\(most),threads=1,maxcpus=\(most)")
        let grows = machine.memorySlots > 0 && machine.maxMemoryMiB > machine.memoryMiB
        let beside = machine.image?.memoryMiB ?? 0
        let ceiling = (grows ? machine.maxMemoryMiB : machine.memoryMiB) + beside
        // A slot is for a module: virtio-mem takes none, and each is a device that the guest's kernel asks for its state.
        let slots = machine.virtioMem ? 1 : max(1, machine.memorySlots)
        add(
            "-m",
            "\(machine.memoryMiB)M"
                + (grows || beside > 0 ? ",slots=\(slots),maxmem=\(ceiling)M" : ""))
        // Shared: the vhost-user devices map it.
        let size = "size=\(machine.memoryMiB)M,share=on"
        switch machine.memory {
        case .own: add("-object", "memory-backend-memfd,id=ram,\(size)")
        case .file, .saved:
            add("-object", "memory-backend-file,id=ram,\(size),mem-path=\(path(memoryDescriptor))")
        }
        if machine.memory == .saved { arguments += ["-incoming", "defer", "-S"] }
        add("-sandbox", machine.seccompSandbox)
        switch machine.firmware {
        case .named(let name): add("-bios", name)
        case .file: add("-bios", path(firmwareDescriptor))
        case .fastest: if machine.machineType == "q35" { add("-bios", "qboot.rom") }
        }

        // A saved machine has all that in its memory.
        if machine.memory != .saved {
            add("-kernel", path(kernelDescriptor))
            if machine.initrd != nil { add("-initrd", path(initrdDescriptor)) }
            add("-append", kernelParameters(machine).joined(separator: " "))
        }

        add("-chardev", "socket,id=qmp,fd=\(qmpDescriptor),server=on,wait=off")
        add("-mon", "chardev=qmp,mode=control")
        add("-chardev", "socket,id=console,fd=\(consoleDescriptor)")
        add("-serial", "chardev:console")

        add("-object", "rng-random,id=rng,filename=\(escaped(machine.entropySource))")
        add("-device", "virtio-rng-pci,rng=rng,max-bytes=1024,period=1000")
        if machine.reclaimsMemory { add("-device", "virtio-balloon-pci,free-page-reporting=on") }
        arguments += machine.image?.arguments ?? []
        if machine.vsockSocket != nil {
            add("-chardev", "socket,id=vsock,fd=\(vsockDescriptor)")
            add("-device", "vhost-user-vsock-pci,chardev=vsock")
        }
        if let cid = machine.hostVsockCID { add("-device", "vhost-vsock-pci,guest-cid=\(cid)") }
        if machine.shareSocket != nil {
            add("-chardev", "socket,id=share,fd=\(shareDescriptor)")
            add(
                "-device",
                "vhost-user-fs-pci,chardev=share,tag=\(machine.shareTag),queue-size=\(machine.shareQueueSize)")
        }
        for port in 0..<machine.rootPorts {
            add(
                "-device",
                "pcie-root-port,id=port\(port),bus=pcie.0,addr=0x\(String(DeviceSlots.firstSlot + port, radix: 16)),chassis=\(port + 1),slot=\(port + 1)"
            )
        }
        return arguments
    }

    /// TCG runs `rep stosb` and `rep movsb` a byte at a time: without these two bits kernel and programs clear and copy by words.
    private static func processor(_ machine: VMConfiguration) -> String {
        let model = machine.accelerator == .tcg ? "max,erms=off,fsrm=off" : "host"
        return model + (machine.cpuFeatures.isEmpty ? "" : "," + machine.cpuFeatures)
    }

    /// The guest kernel's command line (Documentation/admin-guide/kernel-parameters.txt); the user's words come last and win.
    static func kernelParameters(_ machine: VMConfiguration) -> [String] {
        var words = ["console=ttyS0", "reboot=k", "panic=-1", "cryptomgr.notests", "net.ifnames=0", "no_timer_check"]
        words += ["i8042.noaux", "i8042.nomux", "i8042.nopnp", "i8042.dumbkbd", "rcupdate.rcu_expedited=1"]
        // Without it the first Swift process waits for the kernel's random numbers.
        words += [
            "random.trust_cpu=on", "memhp_default_state=online", "nr_cpus=\(max(machine.vcpus, machine.maxVCPUs))",
        ]
        // Virtio in a VM without IOMMU needs no bounce buffers; the kernel would set 64 MiB aside as soon as memory may grow past 4 GiB.
        words.append("swiotlb=noforce")
        // Its 256 targets are not asked one by one, which takes emulated guests seconds: the agent asks for the disk that it was told of.
        words.append("scsi_mod.scan=manual")
        // What is plugged into a root port is told by ACPI (QEMU from 6.1 on): the port itself needs no driver. Nor do the devices of a PC's
        // board, of which there are a clock and an interface that is found where it always was.
        // What sockets hold counts against the machine, not against a container's limit (docs/decisions/0011).
        words += ["pcie_ports=compat", "pnpacpi=off", "cgroup.memory=nosocket"].without(
            namesOf: machine.kernelParameters)
        if machine.accelerator == .tcg {
            // The last two are for our own kernel (patches/apic-timer.patch, patches/keep-initmem.patch); any other passes over them.
            words += ["tsc=reliable", "noreplace-smp", "apic.timer_khz=1000000", "initmem.keep=1"]
            if machine.hostKilohertz > 0 { words.append("tsc_early_khz=\(machine.hostKilohertz)") }
        } else {
            words.append("tsc=reliable")
        }
        words += machine.image?.kernelParameters(debug: machine.debug) ?? []
        words.append(machine.debug ? "debug" : "quiet")
        return words + machine.kernelParameters
    }

    /// A comma ends a value in QEMU's option lists; doubled, it is one.
    static func escaped(_ value: String) -> String {
        value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }
}
