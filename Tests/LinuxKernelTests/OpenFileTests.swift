import Glibc
import LinuxKernel
import TestSupport
import Testing

@Suite("An open file")
struct OpenFileTests {
    private func content(_ file: OpenFile) throws -> String {
        let copy = try #require(file.file)
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = pread(copy.raw, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    @Test("it stays the file that was opened when its path leads to another")
    func replaced() throws {
        let scratch = Scratch()
        let (path, link) = (scratch.path + "/file", scratch.path + "/link")
        try Files.write(path, "first")
        #expect(symlink(path, link) == 0)
        let file = try OpenFile(link)
        try Files.replace(path, "second")
        #expect(try content(file) == "first" && file.path == link && file.size == 5)
        #expect(try OpenFile(link).identity != file.identity)
    }

    @Test("where links are not followed, one in any place is refused; so is all that is no regular file, at once")
    func refusals() throws {
        let scratch = Scratch()
        try Files.makeDirectory(scratch.path + "/directory")
        try Files.write(scratch.path + "/directory/file", "x")
        #expect(symlink("directory", scratch.path + "/other") == 0)
        #expect(symlink("directory/file", scratch.path + "/link") == 0)
        #expect(mkfifo(scratch.path + "/pipe", 0o600) == 0)
        func code(_ name: String, followsLinks: Bool) -> Int32? {
            do {
                _ = try OpenFile(scratch.path + name, followsLinks: followsLinks)
                return nil
            } catch { return error.code }
        }
        for name in ["/other/file", "/link"] {
            #expect(code(name, followsLinks: true) == nil)
            #expect(code(name, followsLinks: false) == ELOOP)
        }
        #expect(code("/directory/file", followsLinks: false) == nil)
        for name in ["/pipe", "/directory"] { #expect(code(name, followsLinks: true) == EINVAL) }
        #expect(code("/nothing", followsLinks: true) == ENOENT && code("/nothing", followsLinks: false) == ENOENT)
    }

    @Test("a sealed copy keeps what was in the file, can't be written, and any user may read it")
    func copy() throws {
        let scratch = Scratch()
        let path = scratch.path + "/file"
        try Files.write(path, "first")
        let file = try OpenFile(path)
        #expect(!file.isReadableByAll)
        let copy = try file.sealedCopy(limit: 5)
        try Files.write(path, "other")
        #expect(try content(file) == "other" && content(copy) == "first")
        #expect(copy == file && copy.isReadableByAll && copy.identity == file.identity)
        let raw = try #require(copy.file).raw
        // Opens it as QEMU does.
        let again = try FileDescriptor.open("/proc/self/fd/\(raw)", O_RDWR)
        #expect(write(again.raw, "x", 1) == -1 && errno == EPERM)
        #expect(ftruncate(again.raw, 0) == -1 && errno == EPERM)
        var facts = stat()
        #expect(fstat(raw, &facts) == 0 && facts.st_mode & S_IROTH != 0)
        #expect(throws: SystemError.self) { try file.sealedCopy(limit: 4) }
    }
}
