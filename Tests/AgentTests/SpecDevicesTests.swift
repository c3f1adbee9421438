import OCISpec
import Testing

@testable import Agent
@testable import GuestStorage

@Suite("Disks of the guest in a specification")
struct SpecDevicesTests {
    private let disk = BlockDevice(name: "sdb", major: 8, minor: 16)

    @Test("the host's numbers give way to the guest's: in the node, in the rules and in the limits")
    func numbers() throws {
        var spec = Spec.example
        spec.linux?.devices = [.init(type: "b", path: "/dev/xvda", major: 7, minor: 1)]
        spec.linux?.resources = try Linux.Resources.decode(
            json: Array(
                #"""
                {"devices": [{"allow": false}, {"allow": true, "type": "b", "major": 7, "minor": 1, "access": "rw"},
                             {"allow": true, "type": "c", "major": 7, "minor": 1, "access": "rw"}],
                 "blockIO": {"throttleReadIOPSDevice": [{"major": 7, "minor": 1, "rate": 9}, {"major": 7, "minor": 2, "rate": 9}]}}
                """#.utf8), source: "resources")
        spec.replace(device: "/dev/xvda", by: disk)
        #expect(spec.linux?.devices?.first?.major == 8 && spec.linux?.devices?.first?.minor == 16)
        #expect(spec.linux?.resources?.devices?.map(\.major) == [nil, 8, 7])
        #expect(spec.linux?.resources?.blockIO?.throttleReadIOPSDevice?.map(\.minor) == [16, 2])
    }

    @Test("a disk that is bound becomes the mount's source, and may be used")
    func bound() {
        var spec = Spec.example
        spec.mounts?.append(Mount(destination: "/disk", type: "bind", source: "/dev/host", options: ["bind"]))
        spec.linux?.resources = .init()
        spec.linux?.resources?.devices = [.init(allow: false)]
        spec.replace(device: "/disk", by: disk)
        #expect(spec.mounts?.last?.source == "/dev/sdb")
        #expect(
            spec.linux?.resources?.devices?.last == .init(allow: true, type: "b", major: 8, minor: 16, access: "rwm"))
    }
}
