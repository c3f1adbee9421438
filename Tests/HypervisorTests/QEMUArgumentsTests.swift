import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Hypervisor

@Suite("QEMU's command line")
struct QEMUArgumentsTests {
    private var machine: VMConfiguration {
        var machine = VMConfiguration(
            name: "s1", executable: "/usr/bin/qemu-system-x86_64", kernel: OpenFile(named: "/k"),
            consoleFile: "/run/vc/vm/s1/console.log",
            pidFile: "/run/vc/vm/s1/pid")
        machine.initrd = OpenFile(named: "/i")
        machine.memoryMiB = 256
        machine.maxMemoryMiB = 1024
        machine.memorySlots = 10
        machine.maxVCPUs = 2
        machine.rootPorts = 1
        machine.vsockSocket = "/run/a,b"
        machine.shareSocket = "/run/fs"
        machine.kernelParameters = ["agent.log=debug"]
        return machine
    }

    @Test("a machine is these words, and no others")
    func golden() {
        let words = QEMUArguments.build(machine)
        #expect(
            words == [
                "-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-name", "sandbox-s1", "-machine",
                "q35,smm=off,sata=off,smbus=off,vmport=off,hpet=off,memory-backend=ram,dump-guest-core=off",
                "-accel", "tcg,thread=multi",
                "-cpu", "max,erms=off,fsrm=off",
                "-smp", "1,sockets=1,cores=2,threads=1,maxcpus=2", "-m", "256M,slots=10,maxmem=1024M", "-object",
                "memory-backend-memfd,id=ram,size=256M,share=on",
                "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-bios",
                "qboot.rom",
                "-kernel", "/proc/self/fd/8", "-initrd", "/proc/self/fd/9", "-append",
                "console=ttyS0 reboot=k panic=-1 cryptomgr.notests net.ifnames=0 no_timer_check i8042.noaux i8042.nomux i8042.nopnp "
                    + "i8042.dumbkbd rcupdate.rcu_expedited=1 random.trust_cpu=on memhp_default_state=online nr_cpus=2 swiotlb=noforce scsi_mod.scan=manual pcie_ports=compat pnpacpi=off cgroup.memory=nosocket tsc=reliable "
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
        machine.executable = "/opt/kata/bin/qemu"
        machine.accelerator = .kvm
        machine.image = RootImage(OpenFile(named: "/images/i"), bytes: 2 << 20, fileSystem: .erofs)
        machine.firmware = .file(OpenFile(named: "/firmware"))
        #expect(
            machine.privateRoot
                == PrivateRoot(
                    directory: "/run/vc/vm/s1/root",
                    paths: [
                        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/opt/kata/bin/qemu",
                        "/opt/kata/lib",
                        "/opt/kata/lib64", "/opt/kata/share",
                    ], devices: ["/dev/null", "/dev/urandom", "/dev/kvm"]))
    }

    @Test("the files that a guest boots are named by their descriptors alone, each of which QEMU gets")
    func descriptors() {
        var machine = machine
        machine.initrd = nil
        machine.firmware = .file(OpenFile(named: "/firmware"))
        for driver in [RootImage.Driver.pmem, .block] {
            machine.image = RootImage(OpenFile(named: "/image"), bytes: 2 << 20, fileSystem: .erofs, driver: driver)
            let line = QEMUArguments.build(machine).joined(separator: " ")
            for path in ["/k ", "/image", "/firmware"] { #expect(!line.contains(path)) }
            #expect(line.contains("-bios /proc/self/fd/11 -kernel /proc/self/fd/8 -append"))
            #expect(machine.bootFiles.mapValues(\.path) == [8: "/k", 10: "/image", 11: "/firmware"])
        }
        machine.memory = .saved
        #expect(machine.bootFiles.keys.sorted() == [10, 11])
        machine.firmware = .named("bios-256k.bin")
        #expect(QEMUArguments.build(machine).joined(separator: " ").contains("-bios bios-256k.bin"))
    }

    @Test("a user's word for the kernel stands in the place of ours")
    func replaced() {
        var machine = machine
        machine.kernelParameters = ["pcie_ports=native", "pnpacpi", "cgroup.memory="]
        let words = QEMUArguments.kernelParameters(machine)
        let names = ["pcie_ports", "pnpacpi", "cgroup.memory"]
        #expect(words.filter { word in names.contains { word.hasPrefix($0) } } == machine.kernelParameters)
    }

    @Test("a balloon is there where freed memory is to go back, and tells of it")
    func balloon() {
        var machine = machine
        func balloons() -> [String] { QEMUArguments.build(machine).filter { $0.hasPrefix("virtio-balloon") } }
        #expect(balloons() == [])
        machine.reclaimsMemory = true
        #expect(balloons() == ["virtio-balloon-pci,free-page-reporting=on"])
    }

    @Test("memory that comes by virtio-mem needs one slot, modules need theirs")
    func slots() {
        var machine = machine
        #expect(QEMUArguments.build(machine).contains("256M,slots=10,maxmem=1024M"))
        machine.virtioMem = true
        #expect(QEMUArguments.build(machine).contains("256M,slots=1,maxmem=1024M"))
    }

    @Test("with KVM the guest gets the host's processor")
    func kvm() {
        var machine = machine
        machine.accelerator = .kvm
        machine.cpuFeatures = "pmu=off"
        let words = QEMUArguments.build(machine)
        #expect(words.contains("host,pmu=off"))
        #expect(words.contains("kvm"))
    }
}

@Suite("The accelerator")
struct AcceleratorTests {
    @Test("KVM is chosen only where a loop runs at hardware speed")
    func rule() {
        #expect(Accelerator.judge(microseconds: 12, device: "/dev/kvm").accelerator == .kvm)
        #expect(Accelerator.judge(microseconds: 17_000, device: "/dev/kvm").accelerator == .tcg)
        #expect(
            Accelerator.judge(microseconds: -2, device: "/dev/kvm").reason
                == "/dev/kvm can't be used: no such file or directory")
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
        let node = "\(device) \(facts.st_ino) \(facts.st_ctim.tv_sec).\(facts.st_ctim.tv_nsec)"
        try Files.write(note, node + " 12")
        #expect(Accelerator.choose("auto", device: device, note: note).accelerator == .kvm)
        try Files.write(note, node + " 17000")
        #expect(Accelerator.choose("auto", device: device, note: note).reason.contains("17000 µs"))
        // Of another node, or cut short: the device itself is asked, and a file is none.
        for other in [node + "1 12", node, ""] {
            try Files.write(note, other)
            #expect(Accelerator.choose("auto", device: device, note: note).reason.contains("can't be used"))
        }
    }
}
