import AgentAPI
import Testing

@Suite("Addresses of devices in the guest")
struct DeviceAddressTests {
    @Test("a PCI path is read whole or not at all, and written as it was read")
    func pci() {
        #expect(PCIPath("0e/00")?.slots == [14, 0])
        #expect(PCIPath("0e/1f").map { "\($0)" } == "0e/1f")
        #expect(PCIPath(slots: [32]) == nil && PCIPath(slots: []) == nil)
        for wrong in ["", "/", "0e/", "0e/0", "20/00", "../..", "0e:00", "zz", "+e", "0e/00/00/00/00/00/00/00/00"] {
            #expect(PCIPath(wrong) == nil, "\(wrong)")
        }
    }

    @Test("a SCSI address is read whole or not at all, and written as it was read")
    func scsi() {
        #expect(SCSIAddress("0:3") == SCSIAddress(target: 0, unit: 3))
        #expect(SCSIAddress("7:16383").map { "\($0)" } == "7:16383")
        for wrong in ["", ":", "1", "0:", "0:1:2", "-1:0", "256:0", "0:16384", "a:b", "0 : 1"] {
            #expect(SCSIAddress(wrong) == nil, "\(wrong)")
        }
    }
}
