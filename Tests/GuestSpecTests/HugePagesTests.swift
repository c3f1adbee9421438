import LinuxKernel
import OCISpec
import Testing

@testable import GuestSpec

@Suite("Volumes of huge pages")
struct HugePagesTests {
    private let place = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/huge"

    private func table(_ type: String) -> [MountEntry] {
        MountTable.parse("1 2 0:3 / \(place) rw - \(type) nodev rw,pagesize=2M\n")
    }

    @Test("kubelet's volume of huge pages is one of the guest's, with the same size of pages")
    func volume() {
        let mount = Mount(destination: "/huge", type: "bind", source: place, options: ["rbind", "rprivate", "rw"])
        #expect(
            mount.hugePages { table("hugetlbfs") }
                == Mount(destination: "/huge", type: "hugetlbfs", source: "nodev", options: ["rw", "pagesize=2M"]))
        #expect(mount.hugePages { table("tmpfs") } == nil)
        let other = Mount(destination: "/huge", type: "bind", source: "/dev/hugepages", options: ["bind"])
        #expect(other.hugePages { table("hugetlbfs") } == nil)
    }
}
