import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Storage

@Suite("disks of the host")
struct HostDiskTests {
    private let scratch = Scratch()
    private var path: String { scratch.path + "/disk" }

    @Test("an image file is opened as is asked")
    func file() throws {
        try Files.write(path, "image")
        for readOnly in [true, false] {
            let disk = try HostDisk(path: path, readOnly: readOnly)
            #expect(!disk.isBlockDevice && disk.readOnly == readOnly)
            #expect(fcntl(disk.file.raw, F_GETFL) & O_ACCMODE == (readOnly ? O_RDONLY : O_RDWR))
            #expect(fcntl(disk.file.raw, F_GETFD) == FD_CLOEXEC)
        }
        #expect(
            try HostDisk(path: path, readOnly: true).identity == HostDisk(path: path, readOnly: false).identity)
    }

    @Test("a fifo, a directory and a character device are refused by name, and not waited for", .timeLimit(.minutes(5)))
    func otherKinds() throws {
        #expect(mkfifo(path, 0o600) == 0)
        for path in [path, scratch.path, "/dev/null"] {
            #expect(throws: SystemError("use as disk", path, errno: ENOTBLK)) {
                try HostDisk(path: path, readOnly: true)
            }
        }
        #expect(throws: SystemError("open", "/nowhere", errno: ENOENT)) {
            try HostDisk(path: "/nowhere", readOnly: true)
        }
    }

    @Test("the file that was checked is opened, though a fifo or a link to another file has its path by then")
    func exchanged() throws {
        let (other, original) = (scratch.path + "/other", scratch.path + "/original")
        try Files.write(other, "other")
        for makeOther in [{ mkfifo($0, 0o600) }, { symlink(other, $0) }] as [(String) -> Int32] {
            try Files.write(path, "image")
            let found = try FoundFile(path)
            #expect(rename(path, original) == 0 && makeOther(path) == 0)
            let disk = try HostDisk(found, readOnly: false)
            #expect(try disk.file.descriptor.readAll(path, limit: 64) == Array("image".utf8))
            #expect(try disk.identity == HostDisk(path: original, readOnly: true).identity && disk.path == path)
            unlink(path)
        }
    }
}
