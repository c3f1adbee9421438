import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Images

@Suite("Guest images")
struct ArchiveTests {
    @Test("an archive is the bytes that the kernel's format asks for")
    func golden() {
        var archive = Archive()
        archive.addFile("a/b", content: Array("hi\n".utf8))
        let text = String(decoding: archive.finish(), as: UTF8.self)
        // Magic, inode, mode, owner, group, links, time, size, device twice, name's length, check; then the name,
        // padded to 4.
        let directory = ["070701", "00000001", "000041ed", "00000000", "00000000", "00000002", "00000000", "00000000"]
        let rest = ["00000000", "00000000", "00000000", "00000000", "00000002", "00000000", "a\0"]
        #expect(text.hasPrefix((directory + rest).joined()))
        #expect(text.contains("a/b\0"))
        #expect(text.contains("TRAILER!!!"))
        #expect(text.utf8.count % 512 == 0)
    }

    @Test("parents are added once")
    func parents() {
        var archive = Archive()
        archive.addFile("x/y/1", content: [])
        archive.addFile("x/y/2", content: [])
        let text = String(decoding: archive.finish(), as: UTF8.self)
        #expect(text.split(separator: "070701").count == 5)
    }

    @Test("a module's dependencies are read from its modinfo")
    func dependencies() {
        #expect(
            KernelModules.dependencies(Array("x\0license=GPL\0depends=virtio_ring,virtio\0name=x\0".utf8)) == [
                "virtio_ring", "virtio",
            ])
        #expect(KernelModules.dependencies(Array("x\0depends=\0".utf8)) == [])
        #expect(KernelModules.dependencies([]) == [])
    }

    @Test("an LZ4 block is unpacked, overlapping copies included")
    func lz4() throws {
        var output: [UInt8] = []
        // "ab", then 9 bytes from 2 back, then the literal "!".
        try KernelImage.unpackBlock([0x25, 0x61, 0x62, 2, 0, 0x10, 0x21][...], into: &output)
        #expect(String(decoding: output, as: UTF8.self) == "abababababa!")
    }

    @Test("a file that is no kernel is refused with a reason")
    func noKernel() {
        #expect(throws: ImageError("neither an ELF kernel nor a bzImage")) { try KernelImage.unpack([1, 2, 3]) }
    }
}
