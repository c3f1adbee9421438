import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import CommandLine

@Suite("The user of a command that changes containers")
struct RootUserTests {
    private let all = "         0          0 4294967295\n"
    /// The id map of an ordinary user's namespace, as rootless Podman makes it.
    private let rootless = "         0       1000          1\n         1     100000      65536\n"

    @Test("an ordinary user gets one line that says who is needed, and nothing is made")
    func ordinary() throws {
        let scratch = Scratch()
        let root = scratch.path + "/oci"
        let error = #expect(throws: RuntimeError.self) {
            try RootUser(user: 1000, userMap: all).check("run", directory: root)
        }
        #expect(error?.description.hasPrefix("run needs root of the host") == true)
        #expect(error?.description.contains("\n") == false && Files.list(scratch.path).isEmpty)
        try RootUser(user: 0, userMap: all).check("run", directory: root)
    }

    @Test("root of a user namespace is the host's where it may write the state")
    func namespaced() throws {
        let scratch = Scratch()
        try RootUser(user: 0, userMap: rootless).check("run", directory: scratch.path + "/a/b")
        #expect(throws: RuntimeError.self) {
            try RootUser(user: 0, userMap: rootless, mayWrite: { _ in false }).check("run", directory: scratch.path)
        }
        try RootUser(user: 0, userMap: all, mayWrite: { _ in false }).check("run", directory: scratch.path)
    }
}
