import Glibc
import TestSupport
import Testing

@testable import LinuxKernel

@Suite("places in file systems")
struct FilePlaceTests {
    private func entry(_ line: String) throws -> MountEntry { try #require(MountTable.parse(line).first) }

    @Test("a path's place is that of its mount's root, and the path below")
    func places() throws {
        let whole = try entry("21 1 8:1 / / rw - ext4 /dev/sda1 rw")
        #expect(whole.place(of: "/a/b") == FilePlace(device: "8:1", path: "/a/b"))
        #expect(whole.place(of: "/") == FilePlace(device: "8:1", path: "/"))
        let part = try entry("22 21 8:1 /a/b /mnt/x rw - ext4 /dev/sda1 rw")
        #expect(part.id == 22 && part.place(of: "/mnt/x") == FilePlace(device: "8:1", path: "/a/b"))
        #expect(part.place(of: "/mnt/x/c/d") == FilePlace(device: "8:1", path: "/a/b/c/d"))
        #expect(part.place(of: "/mnt/xy") == nil)
        let volume = try entry("23 21 8:2 / /mnt/v rw - ext4 /dev/sdb rw")
        #expect(volume.place(of: "/mnt/v/c") == FilePlace(device: "8:2", path: "/c"))
        #expect(volume.place(of: "/mnt/v") == FilePlace(device: "8:2", path: "/"))
        let removed = try entry("24 21 8:1 /gone//deleted /mnt/y rw - ext4 /dev/sda1 rw")
        #expect(removed.place(of: "/mnt/y") == nil)
    }

    @Test("the directories above a place come with the rest of its path, the nearest first")
    func parents() {
        func parents(_ path: String) -> [String] {
            FilePlace(device: "8:1", path: path).parents.map { "\($0.place.path) \($0.rest)" }
        }
        #expect(parents("/a/bb/c") == ["/a/bb c", "/a bb/c", "/ a/bb/c"])
        #expect(parents("/\u{20ac}/x") == ["/\u{20ac} x", "/ \u{20ac}/x"])
        #expect(parents("/") == [])
    }

    @Test("an open file is found among the mounts, through a bind mount too", .enabled(if: getuid() == 0, "needs root"))
    func openFiles() throws {
        let path = Scratch().path
        let places = try inOwnMounts {
            for name in ["/fs", "/part"] { try Files.makeDirectory(path + name) }
            try Mounts.mount("none", at: path + "/fs", type: "tmpfs")
            try Files.makeDirectory(path + "/fs/a b/c")
            try Mounts.bind(path + "/fs/a b", at: path + "/part")
            let numbers = MountNumbers(try MountTable.read(of: "thread-self"))
            let found = try ["/fs/a b/c", "/part/c"].map { name in
                let file = try FileDescriptor.open(path + name, O_RDONLY)
                return numbers.place(of: file)
            }
            for name in ["/part", "/fs"] { Mounts.detach(path + name) }
            return found.map { [$0?.place.path ?? "", $0?.path ?? ""] }
        }
        #expect(places == [["/a b/c", path + "/fs/a b/c"], ["/a b/c", path + "/part/c"]])
    }
}
