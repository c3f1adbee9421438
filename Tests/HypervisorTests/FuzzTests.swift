import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Hypervisor

@Suite("Images that aren't", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("an image's first blocks say what it is, or that it is none")
    func fuzzImages() throws {
        let path = "/tmp/kata-image-\(getpid())"
        defer { unlink(path) }
        for input in try Fuzz.inputs("superblocks: ext4, erofs, xfs, partition tables", corpus: "image", rounds: 1000) {
            try Files.write(path, input)
            _ = try? RootImage(OpenFile(path), type: "", driver: "")
        }
    }
}
