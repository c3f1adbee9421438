import Glibc
import LinuxKernel
import TestSupport
import Testing

@Suite("tmpfs of the host", .enabled(if: getuid() == 0, "needs root: it mounts"))
struct MemoryFileSystemTests {
    @Test("a path's tmpfs is found at all its mounts, also those of a directory in it")
    func found() throws {
        let scratch = Scratch()
        try inOwnMounts {
            let (top, part) = (scratch.path + "/top", scratch.path + "/part")
            for path in [top, part] { try Files.makeDirectory(path) }
            let restrictions = UInt(MS_NOSUID) | UInt(MS_NODEV)
            try Mounts.mount("tmpfs", at: top, type: "tmpfs", flags: restrictions, data: "size=1m,mode=1777,gid=7")
            let empty = try #require(MemoryFileSystem.find(at: top))
            #expect(empty.place == "/" && empty.mountPoints == [top] && empty.content == .nothing)
            #expect(empty.size == "1024k" && empty.restrictions == ["nosuid", "nodev"])
            #expect(empty.top.mode == 0o1777 && empty.top.group == 7)
            try Files.makeDirectory(top + "/a/b", mode: 0o700)
            try Mounts.bind(top + "/a", at: part)
            for (path, place) in [(top, "/"), (top + "/a", "/a"), (part, "/a"), (part + "/b", "/a/b")] {
                let found = try #require(MemoryFileSystem.find(at: path))
                #expect(found.place == place && found.device == empty.device && found.mountPoints == [top])
                #expect(found.content == .directories)
            }
            #expect(MemoryFileSystem.find(at: part)?.attributes.mode == 0o700)
            try Files.write(part + "/b/file", "")
            #expect(MemoryFileSystem.find(at: top)?.content == .files)
            #expect(MemoryFileSystem.find(at: "/proc") == nil && MemoryFileSystem.find(at: top + "/none") == nil)
        }
    }

    @Test("a tmpfs without the option has no size")
    func unlimited() throws {
        let scratch = Scratch()
        try inOwnMounts {
            try Mounts.mount("tmpfs", at: scratch.path, type: "tmpfs")
            let found = try #require(MemoryFileSystem.find(at: scratch.path))
            #expect(found.size == nil && found.restrictions.isEmpty)
        }
    }
}
