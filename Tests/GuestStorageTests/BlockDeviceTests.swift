import AgentAPI
import LinuxKernel
import Testing

@testable import GuestStorage

@Suite("Disks that the host plugs in")
struct BlockDeviceTests {
    @Test("sysfs shows where they are, whatever numbers the kernel has given buses and hosts")
    func sysfs() throws {
        let root = "/tmp/kata-sysfs-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(root) }
        let pciDisk = root + "/devices/pci0000:00/0000:00:0e.0/0000:04:00.0/virtio3/block/vdb"
        let scsiDisk = root + "/class/scsi_device/2:0:0:5/device/block/sdc"
        for (directory, number) in [(pciDisk, "254:16\n"), (scsiDisk, "8:32\n")] {
            try Files.makeDirectory(directory)
            try Files.write(directory + "/dev", number)
        }
        try Files.makeDirectory(root + "/class/scsi_host/host2")
        try Files.write(root + "/class/scsi_host/host2/scan", "")
        func pci(_ text: String) throws -> BlockDevice? {
            BlockDevice.find(.pci(try #require(PCIPath(text))), sysfs: root)
        }
        func scsi(_ text: String) throws -> BlockDevice? {
            BlockDevice.find(.scsi(try #require(SCSIAddress(text))), sysfs: root)
        }
        #expect(try pci("0e/00") == BlockDevice(name: "vdb", major: 254, minor: 16))
        #expect(try pci("0f/00") == nil)
        #expect(try pci("0e/01") == nil)
        #expect(try scsi("0:5") == BlockDevice(name: "sdc", major: 8, minor: 32))
        // The kernel is asked to scan for a disk that is missing.
        #expect(try scsi("1:5") == nil)
        #expect(try Files.readText(root + "/class/scsi_host/host2/scan") == "0 1 5")
    }
}
