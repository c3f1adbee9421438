import AgentAPI
import ShimAPI
import SwiftProtobuf
import Testing

@testable import Shim

@Suite("The shim's edges")
struct ShimTests {
    @Test("containerd's command line, with Go's forms of flags")
    func flags() throws {
        let flags = try ShimFlags(
            [
                "-namespace", "default", "--address=/run/c.sock", "-publish-binary", "/usr/bin/containerd", "-id", "c1",
                "-debug", "start",
            ])
        #expect(flags.namespace == "default" && flags.address == "/run/c.sock" && flags.id == "c1")
        #expect(flags.debug && flags.action == .start)
        #expect(try ShimFlags(["-v"]).action == .version)
    }

    @Test("a wrong command line is told in one line", arguments: [["-id"], ["-fly", "x"], ["-id", "a", "dance"], []])
    func wrongFlags(arguments: [String]) { #expect(throws: UsageError.self) { try ShimFlags(arguments) } }

    @Test("a socket's name fits in sun_path and differs by manager, namespace and group")
    func socketNames() {
        let names = [("a", "b", "c"), ("a", "b", "d"), ("a", "c", "c"), ("b", "b", "c")].map {
            SocketAddress.path(containerd: $0.0, namespace: $0.1, group: $0.2)
        }
        #expect(Set(names).count == 4)
        #expect(names.allSatisfy { $0.utf8.count < 107 })
    }

    @Test("a configuration's path comes with the runtime options, by both of their names")
    func options() throws {
        var options = Runtimeoptions_V1_Options()
        options.configPath = "/etc/mine.toml"
        for name in [
            "runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options",
            "type.googleapis.com/runtimeoptions.v1.Options",
        ] {
            var request = Containerd_Task_V2_CreateTaskRequest()
            request.options.typeURL = name
            request.options.value = try options.serializedBytes()
            #expect(try SandboxHolder.configurationPath(request) == "/etc/mine.toml")
        }
        var runc = Containerd_Task_V2_CreateTaskRequest()
        runc.options.typeURL = "containerd.runc.v1.Options"
        #expect(try SandboxHolder.configurationPath(runc) == nil)
        var garbage = Containerd_Task_V2_CreateTaskRequest()
        garbage.options.typeURL = "runtimeoptions.v1.Options"
        garbage.options.value = .init([0xff])
        #expect(throws: (any Error).self) { try SandboxHolder.configurationPath(garbage) }
    }

    @Test("figures keep their units in both of containerd's forms")
    func metrics() {
        var stats = Grpc_CgroupStats()
        stats.cpuStats.cpuUsage.totalUsage = 5_000
        stats.memoryStats.usage.usage = 42
        stats.memoryStats.stats = ["inactive_file": 7]
        #expect(Metrics.unified(stats).cpu.usageUsec == 5)
        #expect(Metrics.unified(stats).memory.inactiveFile == 7)
        #expect(Metrics.legacy(stats).cpu.usage.total == 5_000)
        #expect(Metrics.legacy(stats).memory.usage.usage == 42)
    }
}
