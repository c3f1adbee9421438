import Glibc
import LinuxKernel
import Testing

@testable import Hypervisor

@Suite("The guest's root image")
struct RootImageTests {
    /// A file of `size` bytes with some bytes at some offsets.
    private func withFile(_ size: Int, _ pieces: [(Int, [UInt8])], _ body: (String) throws -> Void) throws {
        let path = "/tmp/kata-root-image-\(UInt32.random(in: 0...UInt32.max))"
        defer { unlink(path) }
        var bytes = [UInt8](repeating: 0, count: size)
        for (offset, piece) in pieces { bytes.replaceSubrange(offset..<offset + piece.count, with: piece) }
        try Files.write(path, bytes)
        try body(path)
    }

    private let erofs: (Int, [UInt8]) = (1024, [0xe2, 0xe1, 0xf5, 0xe0])
    private let ext4: (Int, [UInt8]) = (1080, [0x53, 0xef])

    @Test(
        "the file system in an image is found, also behind a partition table; its size decides about persistent memory")
    func layouts() throws {
        try withFile(2 << 20, [erofs]) { path in
            let image = try RootImage(OpenFile(path), type: "", driver: "")
            #expect(image == RootImage(OpenFile(named: path), bytes: 2 << 20, fileSystem: .erofs, driver: .pmem))
        }
        try withFile(3 << 20, [ext4]) { path in
            let image = try RootImage(OpenFile(path), type: "ext4", driver: "")
            #expect(image == RootImage(OpenFile(named: path), bytes: 3 << 20, fileSystem: .ext4, driver: .block))
        }
        // QEMU's user may not open it again.
        try withFile(2 << 20, [erofs]) { path in
            let image = try RootImage(OpenFile(path), type: "", driver: "", isMappable: false)
            #expect(image.driver == .block)
        }
        // An entry that starts at sector 2048.
        let table: (Int, [UInt8]) = (446, [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0])
        try withFile(4 << 20, [table, (510, [0x55, 0xaa]), ((2048 << 9) + 1080, [0x53, 0xef])]) { path in
            let image = try RootImage(OpenFile(path), type: "", driver: "virtio-blk-pci")
            #expect(image.isPartitioned && image.fileSystem == .ext4 && image.driver == .block)
            #expect(image.kernelParameters(debug: false).first == "root=/dev/vda1")
        }
    }

    @Test("an unusable image is refused with the reason")
    func refusals() throws {
        func reason(_ path: String, _ type: String, _ driver: String) -> String {
            do {
                _ = try RootImage(OpenFile(path), type: type, driver: driver)
                return ""
            } catch { return "\(error)" }
        }
        try withFile(3 << 20, [ext4]) { path in
            #expect(reason(path, "erofs", "").contains("rootfs_type is erofs, the image holds ext4"))
            #expect(reason(path, "", "virtio-pmem").contains("persistent memory comes in 2 MiB, its size is 3145728"))
        }
        try withFile(4096, []) { #expect(reason($0, "", "").contains("none of the file systems ext4, xfs, erofs")) }
        try withFile(4, []) { #expect(reason($0, "", "").contains("none of the file systems")) }
        #expect(reason("/nowhere/image", "", "").contains("/nowhere/image"))
    }
}
