import TestSupport
import Testing

@testable import Images

@Suite("Files that are no kernels, modules and archives", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("a kernel is unpacked or refused, never read past its end")
    func fuzzKernels() throws {
        for input in try Fuzz.inputs("kernels: ELF, bzImage, LZ4", corpus: "kernel", rounds: 3000) {
            var output: [UInt8] = []
            _ = try? KernelImage.unpackBlock(input[...], into: &output)
            // Other packers are programs of their own.
            if input.count < 0x204 || !KernelImage.isKernel(input) || input.starts(with: [0x7f]) {
                _ = try? KernelImage.unpack(input)
            }
        }
        for input in try Fuzz.inputs("kernels: ELF, bzImage, LZ4", corpus: "kernel", rounds: 500) {
            _ = try? KernelImage.unpack(input)
        }
    }

    @Test("a module's needs and a kernel's configuration are read from whatever there is")
    func fuzzModules() throws {
        for input in try Fuzz.inputs("kernel modules", corpus: "elf", rounds: 3000) {
            #expect(KernelModules.dependencies(input).reduce(0) { $0 + $1.utf8.count } <= input.count * 3)
        }
        for input in try Fuzz.inputs("kernel configurations", corpus: "kernelconfig", rounds: 3000) {
            _ = KernelConfiguration(text: String(decoding: input, as: UTF8.self))
            _ = KernelConfiguration.embedded(in: input)
        }
    }

    @Test("any bytes are read as an archive, never past their end")
    func fuzzArchives() throws {
        var archive = Archive()
        archive.addDirectory("a")
        archive.addFile("a/b", content: Array("hello".utf8))
        archive.addLink("a/c", to: "b")
        let whole = archive.finish()
        for input in try Fuzz.inputs(
            "cpio archives", corpus: "kernel", more: [whole, whole, whole, whole], rounds: 3000)
        {
            _ = Archive.file("a/b", in: input)
        }
        #expect(Archive.file("a/b", in: whole) == Array("hello".utf8))
    }
}
