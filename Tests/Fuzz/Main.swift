import Glibc
import LinuxKernel

/// libFuzzer as a library (https://llvm.org/docs/LibFuzzer.html): reads the options, then calls `body` with one input after the other.
/// Its arguments are pointers and its answer is a number, which Swift and C pass in the same way.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private let decoder: (@Sendable ([UInt8]) throws -> Void)? = {
    Decoders.named(getenv("KATA_FUZZ_DECODER").map { String(cString: $0) } ?? "")
}()

@main
struct Main {
    static func main() {
        guard decoder != nil else {
            writeError("kata-fuzz: set KATA_FUZZ_DECODER to one of: " + Decoders.names.joined(separator: ", "))
            exit(2)
        }
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runFuzzer(&count, &arguments, tryInput))
    }
}

/// Tries one input. A refused one is a good answer; a crash, a sanitizer's report or a time-out is a finding.
@_cdecl("LLVMFuzzerTestOneInput")
func tryInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    try? decoder?(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
