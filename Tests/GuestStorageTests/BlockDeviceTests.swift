import Foundation
import LinuxKernel
import Testing

@testable import GuestStorage

@Suite("Disks that the host plugs in")
struct BlockDeviceTests {
    @Test("places are read whole or not at all")
    func places() {
        #expect(BlockDevice.Place(pci: "0e/00") == .pci(["0e", "00"]))
        #expect(BlockDevice.Place(scsi: "0:3") == .scsi(target: 0, unit: 3))
        for wrong in ["", "/", "0e/", "0e/0", "20/00", "../..", "0e:00", "zz", "0e/00/00/00/00/00/00/00/00"] {
            #expect(BlockDevice.Place(pci: wrong) == nil, "\(wrong)")
        }
        for wrong in ["", ":", "1", "0:", "0:1:2", "-1:0", "256:0", "0:16384", "a:b", "0 : 1"] {
            #expect(BlockDevice.Place(scsi: wrong) == nil, "\(wrong)")
        }
    }

    @Test("sysfs tells where they are, whatever numbers the kernel has given buses and hosts")
    func sysfs() throws {
        let root = "/tmp/kata-sysfs-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(root) }
        let pci = root + "/devices/pci0000:00/0000:00:0e.0/0000:04:00.0/virtio3/block/vdb"
        let scsi = root + "/class/scsi_device/2:0:0:5/device/block/sdc"
        for (directory, number) in [(pci, "254:16\n"), (scsi, "8:32\n")] {
            try Files.makeDirectory(directory)
            try Files.write(directory + "/dev", number)
        }
        try Files.makeDirectory(root + "/class/scsi_host/host2")
        try Files.write(root + "/class/scsi_host/host2/scan", "")
        func find(_ place: BlockDevice.Place) -> BlockDevice? { BlockDevice.find(place, sysfs: root) }
        #expect(find(.pci(["0e", "00"])) == BlockDevice(name: "vdb", major: 254, minor: 16))
        #expect(find(.pci(["0f", "00"])) == nil && find(.pci(["0e", "01"])) == nil)
        #expect(find(.scsi(target: 0, unit: 5)) == BlockDevice(name: "sdc", major: 8, minor: 32))
        // One that is not there yet is looked for.
        #expect(find(.scsi(target: 1, unit: 5)) == nil)
        #expect(try Files.readText(root + "/class/scsi_host/host2/scan") == "0 1 5")
    }
}
