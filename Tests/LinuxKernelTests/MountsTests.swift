import Glibc
import TestSupport
import Testing

@testable import LinuxKernel

@Suite("mounts")
struct MountsTests {
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
