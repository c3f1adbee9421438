import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Hypervisor
@testable import QEMU

@Suite("QEMU's command line")
struct QEMUArgumentsTests {
    private let qemu = QEMU(executable: "/usr/bin/qemu-system-x86_64", accelerator: .init(.tcg, "a test"))

    private var machine: VMConfiguration {
        var machine = VMConfiguration(
            name: "s1", directory: "/run/vc/vm/s1", consoleFile: "/run/vc/vm/s1/console.log",
            kernel: OpenFile(named: "/k"))
        machine.initrd = OpenFile(named: "/i")
        machine.memoryMiB = 256
        machine.maxMemoryMiB = 1024
        machine.memorySlots = 10
        machine.maxVCPUs = 2
        machine.hotPlugPorts = 1
        machine.shareTag = "kataShared"
        machine.vsockSocket = "/run/a,b"
        machine.shareSocket = "/run/fs"
        machine.kernelParameters = ["agent.log=debug"]
        return machine
    }

    @Test("a machine is these words, and no others")
    func golden() {
        let words = QEMUArguments.build(qemu, machine)
        #expect(
            words == [
                "-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-name", "sandbox-s1", "-machine",
                "q35,smm=off,sata=off,smbus=off,vmport=off,hpet=off,memory-backend=ram,dump-guest-core=off",
                "-accel", "tcg,thread=multi,tb-size=128",
                "-cpu", "max,erms=off,fsrm=off",
                "-smp", "1,sockets=1,cores=2,threads=1,maxcpus=2", "-m", "256M,slots=10,maxmem=1024M", "-object",
                "memory-backend-memfd,id=ram,size=256M,share=on",
                "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-bios",
                "qboot.rom",
                "-kernel", "/proc/self/fd/8", "-initrd", "/proc/self/fd/9", "-append",
                "console=ttyS0 reboot=k panic=-1 cryptomgr.notests net.ifnames=0 no_timer_check i8042.noaux i8042.nomux i8042.nopnp "
                    + "i8042.dumbkbd rcupdate.rcu_expedited=1 random.trust_cpu=on memhp_default_state=online nr_cpus=2 swiotlb=noforce scsi_mod.scan=manual pcie_ports=compat pci=lastbus=0 pnpacpi=off cgroup.memory=nosocket tsc=reliable "
                    + "noreplace-smp apic.timer_khz=1000000 initmem.keep=1 quiet agent.log=debug",
                "-chardev", "socket,id=qmp,fd=3,server=on,wait=off", "-mon", "chardev=qmp,mode=control", "-chardev",
                "socket,id=console,fd=5", "-serial", "chardev:console", "-object",
                "rng-random,id=rng,filename=/dev/urandom", "-device",
                "virtio-rng-pci,rng=rng,max-bytes=1024,period=1000", "-chardev",
                "socket,id=vsock,fd=6", "-device", "vhost-user-vsock-pci,chardev=vsock", "-chardev",
                "socket,id=share,fd=7", "-device",
                "vhost-user-fs-pci,chardev=share,tag=kataShared,queue-size=1024", "-device",
                "pcie-root-port,id=port0,bus=pcie.0,addr=0xe,chassis=1,slot=1",
            ])
    }

    @Test("QEMU sees itself, its libraries and firmware and the devices it opens; what the guest boots it has open")
    func files() {
        var machine = machine
        let qemu = QEMU(executable: "/opt/kata/bin/qemu", accelerator: .init(.kvm, "a test"))
        machine.image = RootImage(OpenFile(named: "/images/i"), bytes: 2 << 20, fileSystem: .erofs)
        machine.firmware = .file(OpenFile(named: "/firmware"))
        #expect(
            qemu.privateRoot(machine)
                == PrivateRoot(
                    directory: "/run/vc/vm/s1/root",
                    paths: [
                        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/opt/kata/bin/qemu",
                        "/opt/kata/lib",
                        "/opt/kata/lib64", "/opt/kata/share",
                    ], devices: ["/dev/null", "/dev/urandom", "/dev/kvm"]))
    }

    @Test("QEMU gets the descriptors of the files that a guest boots, and no path")
    func descriptors() {
        var machine = machine
        machine.initrd = nil
        machine.firmware = .file(OpenFile(named: "/firmware"))
        for driver in [RootImage.Driver.pmem, .block] {
            machine.image = RootImage(OpenFile(named: "/image"), bytes: 2 << 20, fileSystem: .erofs, driver: driver)
            let line = QEMUArguments.build(qemu, machine).joined(separator: " ")
            for path in ["/k ", "/image", "/firmware"] { #expect(!line.contains(path)) }
            #expect(line.contains("-bios /proc/self/fd/11 -kernel /proc/self/fd/8 -append"))
            #expect(machine.bootDescriptors.mapValues(\.path) == [8: "/k", 10: "/image", 11: "/firmware"])
        }
        machine.memory = .saved
        #expect(machine.bootDescriptors.keys.sorted() == [10, 11])
        machine.firmware = .named("bios-256k.bin")
        #expect(QEMUArguments.build(qemu, machine).joined(separator: " ").contains("-bios bios-256k.bin"))
    }

    @Test("a user's word for the kernel stands in the place of ours")
    func replaced() {
        var machine = machine
        machine.kernelParameters = ["pcie_ports=native", "pnpacpi", "cgroup.memory="]
        let words = QEMUArguments.kernelParameters(qemu, machine)
        let names = ["pcie_ports", "pnpacpi", "cgroup.memory"]
        #expect(words.filter { word in names.contains { word.hasPrefix($0) } } == machine.kernelParameters)
    }

    @Test("the host's vsock takes the place of our device")
    func hostVsock() {
        var machine = machine
        (machine.hostVsockCID, machine.vsockSocket) = (3, nil)
        let words = QEMUArguments.build(qemu, machine)
        #expect(
            words.contains("vhost-vsock-pci,guest-cid=3,vhostfd=6")
                && !words.contains { $0.contains("vhost-user-vsock") })
    }

    @Test("with reclaim_guest_freed_memory there is a balloon, with free page reporting")
    func balloon() {
        var machine = machine
        func balloons() -> [String] { QEMUArguments.build(qemu, machine).filter { $0.hasPrefix("virtio-balloon") } }
        #expect(balloons() == [])
        machine.reclaimsMemory = true
        #expect(balloons() == ["virtio-balloon-pci,free-page-reporting=on"])
    }

    @Test("memory that comes by virtio-mem needs one slot, modules need theirs")
    func slots() {
        var machine = machine
        #expect(QEMUArguments.build(qemu, machine).contains("256M,slots=10,maxmem=1024M"))
        machine.virtioMem = true
        #expect(QEMUArguments.build(qemu, machine).contains("256M,slots=1,maxmem=1024M"))
    }

    @Test("with KVM the guest gets the host's processor, and processors that were added can be removed")
    func kvm() {
        var qemu = qemu
        #expect(!qemu.capabilities.hotUnplug.contains(.processor))
        qemu.accelerator = .init(.kvm, "a test")
        qemu.cpuFeatures = "pmu=off"
        let words = QEMUArguments.build(qemu, machine)
        #expect(words.contains("host,pmu=off"))
        #expect(words.contains("kvm"))
        #expect(qemu.capabilities.hotUnplug.contains(.processor))
    }

    @Test("persistent memory has its place behind what memory may grow to; a disk needs none")
    func arguments() {
        var machine = machine
        (machine.kernelParameters, machine.memorySlots, machine.maxVCPUs) = ([], 0, 1)
        (machine.memoryMiB, machine.maxMemoryMiB) = (256, 256)
        machine.image = RootImage(OpenFile(named: "/i,j"), bytes: 22 << 20, fileSystem: .erofs)
        var words = QEMUArguments.build(qemu, machine)
        #expect(words.contains("256M,slots=1,maxmem=278M"))
        #expect(
            words.contains("memory-backend-file,id=image,mem-path=/proc/self/fd/10,size=23068672,share=on,readonly=on")
                && words.contains("virtio-pmem-pci,memdev=image"))
        let append = words[words.firstIndex(of: "-append")! + 1]
        #expect(append.contains(" root=/dev/pmem0 rootflags=dax ro rootfstype=erofs init=/sbin/init systemd.unit="))
        machine.image?.driver = .block
        words = QEMUArguments.build(qemu, machine)
        #expect(words.contains("256M") && words.contains("virtio-blk-pci,drive=image"))
        #expect(words.contains("fd=10,set=0") && words.contains { $0.contains("file=/dev/fdset/0,") })
        #expect(!words.contains { $0.contains("/i,") })
    }
}

@Suite("The accelerator")
struct AcceleratorTests {
    @Test("KVM is chosen where it runs a kernel's code, however slowly; what else it does is named")
    func rule() {
        func judge(_ result: Int64, _ flags: Set<Substring> = []) -> Accelerator.Choice {
            Accelerator.judge(.init(result), device: "/dev/kvm") { flags }
        }
        #expect(judge(12).accelerator == .kvm)
        #expect(judge(24_000).accelerator == .kvm)
        #expect(judge(12).reason.hasSuffix("vector registers in 12 µs"))
        #expect(
            judge(-Int64(ENOTSUP))
                == .init(.tcg, "/dev/kvm emulates instructions in software, and can't run a guest's kernel"))
        #expect(judge(-Int64(ETIME)).reason.hasPrefix("/dev/kvm is too slow"))
        #expect(
            judge(-Int64(ENOENT), ["fpu", "svm"]).reason
                == "/dev/kvm can't be used: no such file or directory; load the module kvm_amd")
        #expect(judge(-Int64(ENODEV), ["vmx"]).reason.hasSuffix("; load the module kvm_intel"))
        #expect(judge(-Int64(ENOENT)).reason.contains("; the processor offers no virtualisation: "))
        #expect(
            judge(-Int64(EACCES), ["vmx"]).reason
                == "/dev/kvm can't be used: permission denied; only its owner and group may open it")
        #expect(judge(-Int64(EBUSY)).reason.hasSuffix("; another hypervisor uses the processor's virtualisation"))
        #expect(judge(-Int64(EINVAL)) == .init(.tcg, "/dev/kvm can't be used: invalid argument"))
    }

    @Test("the configuration's word is final")
    func forced() {
        #expect(Accelerator.choose("kvm", device: "/nowhere").accelerator == .kvm)
        #expect(Accelerator.choose("auto", device: "/nowhere").accelerator == .tcg)
    }

    @Test("what a device was found to be is kept for as long as the node is the same")
    func kept() throws {
        let directory = Scratch()
        let (device, note) = (directory.path + "/kvm", directory.path + "/note")
        try Files.write(device, "")
        var facts = stat()
        #expect(stat(device, &facts) == 0)
        let node = "\(device) \(facts.st_ino) \(facts.st_ctim.tv_sec).\(facts.st_ctim.tv_nsec) code"
        try Files.write(note, node + " 12")
        #expect(Accelerator.choose("auto", device: device, note: note).accelerator == .kvm)
        try Files.write(note, node + " 17000")
        #expect(Accelerator.choose("auto", device: device, note: note).reason.contains("17000 µs"))
        try Files.write(note, node + " -\(ENOTSUP)")
        #expect(Accelerator.choose("auto", device: device, note: note).reason.contains("emulates instructions"))
        // A note of another node, or a truncated one, is ignored: the device itself is probed, and a file is none.
        for other in [node + "1 12", node, ""] {
            try Files.write(note, other)
            #expect(Accelerator.choose("auto", device: device, note: note).reason.contains("can't be used"))
        }
    }
}
