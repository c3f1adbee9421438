import Glibc
import TestSupport
import Testing

@testable import LinuxKernel

@Suite("mounts")
struct MountsTests {
    @Test("a mount that one namespace has and another hasn't is found, whatever its numbers are")
    func difference() {
        let ours = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n"
        let theirs = "91 90 0:5 / /proc rw - proc proc rw\n90 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        let data = "92 90 0:9 / /data rw - tmpfs t rw\n"
        func firstMissing(of one: String, in other: String) -> String? {
            MountTable.firstMissing(of: MountTable.parse(one), in: MountTable.parse(other))
        }
        #expect(firstMissing(of: theirs, in: ours) == nil)
        #expect(firstMissing(of: theirs + data, in: ours) == "/data")
        #expect(firstMissing(of: theirs, in: ours + data) == nil)
        #expect(MountTable.difference(MountTable.parse(theirs), MountTable.parse(ours)).isEmpty)
        for (one, other) in [(theirs + data, ours), (theirs, ours + data)] {
            #expect(MountTable.difference(MountTable.parse(one), MountTable.parse(other)) == ["/data"])
        }
    }

    @Test(
        "what is unmounted below a copied tree stays mounted below its source",
        .enabled(if: getuid() == 0, "needs root"))
    func copiedTree() throws {
        let scratch = Scratch()
        let (source, copy) = (scratch.path + "/source", scratch.path + "/copy")
        let mounted = try inOwnMounts {
            try Files.makeDirectory(source)
            try Files.makeDirectory(copy)
            try Mounts.mount("none", at: source, type: "tmpfs")
            try Mounts.mount("none", at: source, flags: UInt(MS_SHARED))
            try Files.makeDirectory(source + "/below")
            try Mounts.mount("none", at: source + "/below", type: "tmpfs")
            try Mounts.attach(Mounts.copy(source), at: copy)
            // Later mounts are seen in the copy.
            try Files.makeDirectory(source + "/later")
            try Mounts.mount("none", at: source + "/later", type: "tmpfs")
            let seen = try MountTable.read(of: "thread-self").contains { $0.mountPoint == copy + "/later" }
            Mounts.detachLast(copy)
            let table = try MountTable.read(of: "thread-self").map(\.mountPoint)
            Mounts.detach(source)
            return [seen, table.contains(source + "/below"), table.contains(source + "/later")]
        }
        #expect(mounted == [true, true, true])
    }
}
