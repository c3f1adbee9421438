import Cleanup
import Testing

@testable import GuestSpec
@testable import OCISpec

@Suite("Disks of the host for a guest")
struct GuestDiskTests {
    private func guest(_ change: (inout Spec) -> Void) throws -> GuestSpec {
        var spec = Spec.example
        spec.linux?.resources = .init()
        change(&spec)
        return try GuestSpec(
            spec, container: "c1", paths: SandboxPaths(sandbox: "s1"),
            kind: { $0 == "/dev/sdz" ? .blockDevice : .other })
    }

    private func device(_ type: String = "b", _ major: Int64 = 7) -> OCISpec.Linux.Device {
        .init(type: type, path: "/dev/xvda", major: major, minor: 3)
    }

    @Test(
        "a listed block device becomes a disk; one that may not be written, a disk that can't be",
        arguments: ["rwm", "rm", "r"])
    func listed(_ access: String) throws {
        let guest = try guest {
            $0.linux?.devices = [device()]
            $0.linux?.resources?.devices = [
                .init(allow: false), .init(allow: true, type: "b", major: 7, minor: 3, access: access),
            ]
        }
        #expect(
            guest.disks == [
                GuestSpec.Disk(
                    source: .number(major: 7, minor: 3), use: .device("/dev/xvda"), readOnly: access != "rwm")
            ])
        #expect(guest.spec.linux?.devices == [device()])
    }

    @Test("character devices of the host are refused; a privileged container gets none")
    func others() throws {
        let error = #expect(throws: SpecError.self) {
            try self.guest { $0.linux?.devices = [self.device("c", 195)] }
        }
        #expect(error?.description.contains("linux.devices[0]: /dev/xvda (c 195:3) belongs to the host") == true)
        let privileged = try guest {
            $0.linux?.devices = [device(), .init(type: "c", path: "/dev/nvidia0", major: 195, minor: 0)]
            $0.linux?.resources?.devices = [.init(allow: true)]
        }
        #expect(privileged.disks.isEmpty && privileged.droppedDevices == 2)
    }

    @Test("a bound block device is attached to the guest; a privileged container gets none of those below /dev")
    func bound() throws {
        let guest = try guest {
            $0.linux?.resources?.devices = [.init(allow: true)]
            $0.mounts?.append(
                Mount(destination: "/dev/data", type: "bind", source: "/dev/sdz", options: ["bind", "ro"]))
            $0.mounts?.append(Mount(destination: "/disk", type: "bind", source: "/dev/sdz", options: ["bind", "ro"]))
        }
        #expect(guest.disks == [GuestSpec.Disk(source: .path("/dev/sdz"), use: .device("/disk"), readOnly: true)])
        #expect(guest.shares.isEmpty && guest.spec.mounts?.last?.destination == "/disk")
    }

    @Test("a file system on an image file is mounted by the guest")
    func fileSystem() throws {
        let guest = try guest {
            $0.mounts?.append(
                Mount(destination: "/data", type: "ext4", source: "/images/a.img", options: ["loop", "noatime", "ro"]))
        }
        let place = "/run/kata-containers/c1/disk\((Spec.example.mounts ?? []).count)"
        #expect(
            guest.disks == [
                GuestSpec.Disk(
                    source: .path("/images/a.img"),
                    use: .fileSystem(type: "ext4", options: ["noatime", "ro"], mountPoint: place), readOnly: true)
            ])
        #expect(
            guest.spec.mounts?.last
                == Mount(destination: "/data", type: "bind", source: place, options: ["rbind", "ro"]))
    }

    @Test("a root that is a disk is the guest's own, and nothing of it is shared")
    func root() throws {
        let image = try #require(DiskImage("xfs", "/dev/mapper/pool-1", ["nouuid", "loop"]))
        let guest = try GuestSpec(
            Spec.example, container: "c1", paths: SandboxPaths(sandbox: "s1"), rootDisk: image, kind: { _ in .other })
        let path = "/run/kata-containers/c1/rootfs"
        #expect(guest.spec.root?.path == path)
        #expect(
            guest.disks == [
                GuestSpec.Disk(
                    source: .path("/dev/mapper/pool-1"),
                    use: .fileSystem(type: "xfs", options: ["nouuid"], mountPoint: path), readOnly: false)
            ])
    }

    @Test("limits of disks hold for those that the container has, others are refused")
    func limits() throws {
        func spec(_ major: Int64) throws -> GuestSpec {
            try guest {
                $0.linux?.devices = [device()]
                $0.linux?.resources?.blockIO = .init()
                $0.linux?.resources?.blockIO?.throttleReadBpsDevice = [.init(major: major, minor: 3, rate: 9)]
            }
        }
        #expect(try spec(7).disks.count == 1)
        let error = #expect(throws: SpecError.self) { try spec(8) }
        #expect(error?.description.contains("blockIO.throttleReadBpsDevice: 8:3 is a disk of the host") == true)
    }
}
