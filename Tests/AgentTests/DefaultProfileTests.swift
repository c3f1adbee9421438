import LinuxKernel
import TestSupport
import Testing

@testable import Agent

@Suite("The guest's own AppArmor profile")
struct DefaultProfileTests {
    private let scratch = Scratch()
    private var policy: String { scratch.path + "/policy" }
    /// A directory in the place of securityfs.
    private var directory: String { scratch.path + "/security" }
    private var interface: String { directory + "/apparmor/.replace" }

    private func make(_ module: String, withPolicy: Bool = true) throws -> DefaultProfile {
        try Files.makeDirectory(directory + "/" + module)
        if withPolicy { try Files.write(policy, "compiled") }
        return DefaultProfile(policy: policy, directory: directory)
    }

    @Test("the image's policy goes to the kernel once")
    func once() throws {
        let profile = try make("apparmor")
        try Files.write(interface, "")
        #expect(try profile.load())
        #expect(try Files.readText(interface) == "compiled")
        try Files.write(interface, "")
        #expect(try profile.load())
        #expect(try Files.readText(interface) == "")
    }

    @Test("another error is no lack of the profile: it is reported, and the next process tries again")
    func refused() throws {
        let profile = try make("apparmor")
        try Files.makeDirectory(interface)
        #expect(throws: SystemError.self) { try profile.load() }
        Files.removeTree(interface)
        try Files.write(interface, "")
        #expect(try profile.load())
    }

    @Test("a kernel without AppArmor, or an image without the policy, has no profile")
    func missing() throws {
        #expect(try !make("lsm").load())
        #expect(!Files.exists(interface))
        let other = try make("apparmor", withPolicy: false)
        try Files.write(interface, "")
        Files.removeTree(policy)
        #expect(try !other.load())
    }
}
