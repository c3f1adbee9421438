import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import GuestStorage

@Suite("the host's mounts in the share, in the guest")
struct ShareEntriesTests {
    @Test("a container uses its root, and for each source the host's mount that it lies in")
    func paths() {
        let share = "/run/kata-containers/shared/containers"
        #expect(
            ShareEntries.paths(
                root: share + "/c1/rootfs", sources: [share + "/.v1", share + "/.v2/a/b", "/dev/null", share])
                == [share + "/c1/rootfs", share + "/.v1", share + "/.v2"])
        #expect(ShareEntries.paths(root: "/run/kata-containers/c1/rootfs", sources: []) == [])
    }

    @Test("a mount is removed with its last user", .enabled(if: getuid() == 0, "needs root: it mounts"))
    func users() throws {
        let place = Scratch().path
        try inOwnMounts {
            let paths = ["/a", "/b"].map { place + $0 }
            for path in paths {
                try Files.makeDirectory(path)
                try Mounts.mount("none", at: path, type: "tmpfs")
            }
            func mounted() throws -> [String] {
                try MountTable.read(of: "thread-self").map(\.mountPoint).filter { paths.contains($0) }
            }
            let entries = ShareEntries()
            entries.use([paths[0], paths[0], paths[1]])
            entries.use([paths[0]])
            #expect(try entries.release([paths[0], paths[0], paths[1]]) == [paths[0]] && mounted() == [paths[0]])
            #expect(try entries.release([paths[0]]) == [] && mounted() == [])
        }
    }
}
