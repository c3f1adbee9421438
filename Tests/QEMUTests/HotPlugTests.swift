import Foundation
import LinuxKernel
import Testing

@testable import Hypervisor
@testable import QEMU

@Suite("Devices that come and go")
struct HotPlugTests {
    @Test("a thread is known by its number in its own pid namespace")
    func threads() {
        #expect(QEMUMachine.innermostNumber("Name:\tCPU 0/TCG\nPid:\t4711\nNSpid:\t4711\t88\t5\nNStgid:\t1\n") == 5)
        #expect(QEMUMachine.innermostNumber("NSpid:\t4711\n") == 4711)
        #expect(QEMUMachine.innermostNumber("") == nil)
    }

    @Test("each port takes one device, and is free again after its removal")
    func slots() throws {
        var slots = DeviceSlots(ports: 2)
        #expect(try slots.take("a") == "port0" && slots.take("b") == "port1")
        let error = #expect(throws: VMError.self) { try slots.take("c") }
        #expect(error?.description.contains("pcie_root_port") == true)
        slots.release("a")
        #expect(try slots.take("c") == "port0")
    }

    @Test(
        "where a processor is, by QEMU's words",
        arguments: [
            ("EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0", .firmware),
            ("RIP=0000000001000123 RFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0", .firmware),
            ("RIP=ffffffff81a3f00d RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0", .kernel),
            ("RAX=0\r\nRIP=ffffffff81a3f00d RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1", .idle),
            ("RIP=00007f1234567890 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0", .program),
            ("No CPU available", nil), ("RIP=", nil), ("", nil),
        ] as [(String, ProcessorState?)])
    func processor(text: String, state: ProcessorState?) { #expect(ProcessorState(registers: text) == state) }

    @Test("a network card for QEMU's monitor", arguments: [1, 2])
    func card(_ queues: Int) throws {
        let queue = SharedDescriptor(try FileDescriptor.open("/dev/null", 0))
        let card = NetworkDevice(
            id: "net0", hardwareAddress: "02:00:00:00:00:01", queues: Array(repeating: queue, count: queues),
            vhost: true)
        let names = (0..<queues).map { "q\($0)" }
        let backend = try object(card.backend(names, vhost: names))
        #expect(backend["type"] as? String == "tap" && backend["vhost"] as? Bool == true)
        #expect(backend[queues == 1 ? "fd" : "fds"] as? String == names.joined(separator: ":"))
        #expect(backend[queues == 1 ? "vhostfd" : "vhostfds"] as? String == names.joined(separator: ":"))
        let device = try object(card.card(port: "port3"))
        #expect(device["netdev"] as? String == "net0" && device["bus"] as? String == "port3")
        #expect(device["vectors"] as? Int == (queues == 1 ? nil : 6))
    }
}

@Suite("Machines that grow, and their disks")
struct GrowthTests {
    @Test(
        "memory is added in whole blocks, as far as there is room",
        arguments: [(256, 256, 0), (256, 257, 128), (256, 1000, 768), (256, 4000, 1792), (2048, 100, 0)])
    func blocks(_ boot: Int, _ wanted: Int, _ expected: Int) {
        #expect(Growth.memory(boot: boot, wanted: wanted, maximum: 2150, block: 128) == expected)
    }

    @Test("a port's address has the format of Kata's agent")
    func places() {
        #expect(DeviceSlots.pciPath(of: "port0") == "0e/00" && DeviceSlots.pciPath(of: "port15") == "1d/00")
    }

    @Test("units of the controller are free again after their disk's removal")
    func units() throws {
        var table = DiskTable()
        #expect(try table.takeUnit("a").number == 0 && table.takeUnit("b").number == 1)
        table.units = table.units.filter { $0.value != "a" }
        #expect(try table.takeUnit("c").number == 0)
    }

    @Test("a disk for QEMU's monitor", arguments: [true, false])
    func disk(_ readOnly: Bool) throws {
        var settings = Disk.Settings()
        settings.cache = .init(direct: true, noFlush: false)
        settings.logicalSector = 4096
        let file = SharedDescriptor(try FileDescriptor.open("/dev/null", 0))
        let disk = Disk(
            id: "disk1", file: file, isBlockDevice: !readOnly, readOnly: readOnly, isRaw: true, settings: settings)
        let node = try object(disk.node(set: 7, asynchronousIO: "threads"))
        let below = try #require(node["file"] as? [String: Any])
        #expect(node["node-name"] as? String == "disk1" && node["read-only"] as? Bool == readOnly)
        #expect(below["driver"] as? String == (readOnly ? "file" : "host_device"))
        // A device of the host may be another machine's too, an image file may not.
        #expect(below["locking"] as? String == (readOnly ? nil : "off"))
        #expect(below["filename"] as? String == "/dev/fdset/7" && below["aio"] as? String == "threads")
        let device = try object(disk.device(controller: "scsi0", unit: .init(number: 259)))
        #expect(device["drive"] as? String == "disk1" && device["lun"] as? Int == 3 && device["scsi-id"] as? Int == 1)
        #expect(device["share-rw"] as? Bool == (readOnly ? nil : true))
        #expect(try object(disk.device(port: "port1"))["share-rw"] as? Bool == (readOnly ? nil : true))
        #expect(device["logical_block_size"] as? Int == 4096 && device["physical_block_size"] == nil)
    }

    @Test("a device is shared with other machines where programs use it raw, or only read it; a file system is not")
    func sharing() throws {
        let file = SharedDescriptor(try FileDescriptor.open("/dev/null", 0))
        for (isBlockDevice, readOnly, isRaw, isShared) in [
            (true, false, true, true), (true, true, false, true), (true, false, false, false),
            (false, true, true, false),
        ] {
            let disk = Disk(
                id: "d", file: file, isBlockDevice: isBlockDevice, readOnly: readOnly, isRaw: isRaw,
                settings: Disk.Settings())
            let below = try #require(try object(disk.node(set: 1, asynchronousIO: "threads"))["file"] as? [String: Any])
            #expect(below["locking"] as? String == (isShared ? "off" : nil))
            #expect(try object(disk.device(port: "port1"))["share-rw"] as? Bool == (isShared ? true : nil))
        }
    }
}

/// The arguments of a command as the monitor gets them.
private func object(_ command: some QMP.Command) throws -> [String: Any] {
    let line = try JSONSerialization.jsonObject(with: Data(try Monitor.line(command).utf8)) as? [String: Any]
    return try #require(line?["arguments"] as? [String: Any])
}
