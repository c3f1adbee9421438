import FoundationEssentials
import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Sandbox

@Suite("State files that a crash has broken", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("a record of due hooks is removed, whatever it holds")
    func fuzzDueHooks() throws {
        let path = "/tmp/kata-hooks-\(getpid())"
        for input in try Fuzz.inputs("state files", corpus: "hooks", rounds: 1000) {
            try Files.write(path, input)
            _ = DueHooks.claim(path)
            #expect(!Files.exists(path))
        }
    }
}
