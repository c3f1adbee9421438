import LinuxKernel
import TestSupport
import Testing

@testable import Agent

@Suite("modules of the guest's kernel")
struct ModuleTests {
    private let index = ModuleIndex(
        dependencies: """
            kernel/net/llc/llc.ko:
            kernel/net/802/stp.ko: kernel/net/llc/llc.ko
            kernel/net/bridge/bridge.ko.xz: kernel/net/802/stp.ko kernel/net/llc/llc.ko
            kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
            kernel/net/core/failover.ko:

            """,
        aliases: """
            # Aliases extracted from modules themselves.
            alias rtnl-link-bridge bridge
            alias virtio:d00000001v* net_failover
            alias several bridge
            alias sever?l failover

            """)

    @Test("a module comes after what it depends on, and - is _ in its name")
    func order() {
        #expect(
            index.files(for: "bridge") == [
                "kernel/net/llc/llc.ko", "kernel/net/802/stp.ko", "kernel/net/bridge/bridge.ko.xz",
            ])
        #expect(
            index.files(for: "net-failover") == ["kernel/net/core/failover.ko", "kernel/drivers/net/net_failover.ko"])
    }

    @Test("an alias may be a pattern, and name several modules; what none has gives nothing")
    func aliases() {
        #expect(index.files(for: "rtnl_link-bridge").last == "kernel/net/bridge/bridge.ko.xz")
        #expect(index.files(for: "virtio:d00000001v00001AF4").last == "kernel/drivers/net/net_failover.ko")
        #expect(
            index.files(for: "several").suffix(2) == ["kernel/net/bridge/bridge.ko.xz", "kernel/net/core/failover.ko"])
        #expect(index.files(for: "rtnl-link-") == [])
        #expect(index.files(for: "") == [])
    }

    @Test("a directory without this kernel's modules has none; a module that can't be read says which")
    func directory() throws {
        let scratch = Scratch()
        #expect(try !ModuleDirectory(parent: scratch.path, release: "6.1").load("bridge"))
        try Files.makeDirectory(scratch.path + "/6.1")
        try Files.write(scratch.path + "/6.1/modules.dep", index.dependencies)
        try Files.write(scratch.path + "/6.1/modules.alias", index.aliases)
        let directory = ModuleDirectory(parent: scratch.path, release: "6.1")
        #expect(try !directory.load("nothing"))
        let error = #expect(throws: SystemError.self) { try directory.load("stp") }
        #expect("\(error!)".contains("6.1/kernel/net/llc/llc.ko"))
    }

    @Test("only the kernel's own arguments are a request for a module")
    func arguments() {
        #expect(ModuleHelper.request(in: ["/init", "-q", "--", "fs-btrfs"]) == "fs-btrfs")
        #expect(ModuleHelper.request(in: ["/init"]) == nil)
        #expect(ModuleHelper.request(in: ["/init", "-q", "--"]) == nil)
        #expect(ModuleHelper.request(in: ["/init", "--version"]) == nil)
    }
}
