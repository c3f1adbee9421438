import Glibc
import Linux
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

    @Test("a fifo, a directory and a character device are refused by name, and not waited for", .timeLimit(.minutes(1)))
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

    @Test(
        "what is opened is what was looked at, while the path changes between a file and a fifo",
        .timeLimit(.minutes(1)))
    func exchanged() throws {
        let other = scratch.path + "/other"
        try Files.write(path, "image")
        #expect(mkfifo(other, 0o600) == 0)
        var outcomes = (opened: 0, refused: 0)
        try exchanging(path, other) {
            let deadline = ContinuousClock.now + .seconds(20)
            while outcomes.opened < 300 || outcomes.refused < 300, .now < deadline {
                guard let disk = try? HostDisk(path: path, readOnly: true) else {
                    outcomes.refused += 1
                    continue
                }
                outcomes.opened += 1
                var facts = stat()
                #expect(fstat(disk.file.raw, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG)
            }
        }
        #expect(outcomes.opened >= 300 && outcomes.refused >= 300)
    }

    @Test("a found file is opened though another one has its path by now")
    func replaced() throws {
        try Files.write(path, "first")
        let found = try FoundFile(path)
        try Files.replace(path, "second")
        let file = try found.open(O_RDONLY)
        #expect(try file.readAll(path, limit: 64) == Array("first".utf8))
    }
}
