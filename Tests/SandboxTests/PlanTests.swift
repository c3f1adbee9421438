import AgentAPI
import Cgroups
import Cleanup
import Configuration
import Hypervisor
import LinuxKernel
import Network
import OCISpec
import Pod
import QEMU
import SandboxCgroups
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

@Suite("Plans of a sandbox")
struct PlanTests {
    private let host = HostFacts(processors: 4, memoryMiB: 8000, kilohertz: 2_600_000)

    private let networkHost = NetworkSettings.Host(
        namespace: 1, hasVhost: false,
        identity: { ["/host": 1, "/proc/1/ns/net": 1, "/run/netns/a": 2, "/proc/77/ns/net": 3][$0] })

    private func plan(_ toml: String) throws -> SandboxPlan {
        var configuration = Configuration()
        try configuration.merge(text: toml, file: "c.toml")
        let network = try NetworkSettings(
            Spec.example, process: nil, configuration: configuration, host: networkHost, source: "config.json")
        let qemu = QEMU(configuration, host: host, accelerator: .init(.tcg, "a test"))
        return SandboxPlan(
            sandbox: "s1", hostname: "h", network: network,
            basis: try .init(configuration, host: host, hypervisor: qemu),
            cgroups: .init(nil, sandbox: "s1", configuration: configuration))
    }

    @Test("the configuration and the host decide the machine")
    func machine() throws {
        let plan = try plan(
            "[hypervisor.qemu]\npath = \"/q\"\nkernel = \"/k\"\ninitrd = \"/i\"\ndefault_memory = 512\ndefault_vcpus = -1\nkernel_params = \"a b\"\n"
                + "[agent.kata]\ndial_timeout = 7\n")
        var expected = VMConfiguration(
            name: "s1", directory: "/run/vc/vm/s1", consoleFile: "/run/vc/vm/s1/console.log",
            kernel: OpenFile(named: "/k"))
        expected.initrd = OpenFile(named: "/i")
        expected.kernelParameters = ["a", "b"]
        expected.vcpus = 4
        expected.maxVCPUs = 4
        expected.memoryMiB = 512
        expected.maxMemoryMiB = 8000
        expected.memorySlots = 10
        expected.virtioMem = true
        expected.shareTag = "kataShared"
        expected.vsockSocket = "/run/vc/vm/s1/vsock.sock"
        expected.shareSocket = "/run/vc/vm/s1/vhost-fs.sock"
        #expect(plan.machine == expected)
        let qemu = plan.hypervisor as? QEMU
        #expect(qemu?.executable == "/q" && qemu?.hostKilohertz == 2_600_000)
        #expect(plan.dialTimeout == .seconds(7))
    }

    @Test("the host's vsock takes the place of our device when the configuration asks for it")
    func hostVsock() throws {
        let machine = try plan("[hypervisor.qemu]\nguest_channel = \"vhost-vsock\"\n").machine
        #expect(machine.hostVsockCID == 3 && machine.vsockSocket == nil)
    }

    @Test("a channel or share that the hypervisor does not have is refused by its key")
    func capabilities() throws {
        try plan("").checkCapabilities()
        try plan("[hypervisor.qemu]\nguest_channel = \"vhost-vsock\"\n").checkCapabilities()
        func refusal(_ capabilities: Capabilities) throws -> String? {
            let network = try NetworkSettings(
                Spec.example, process: nil, configuration: Configuration(), host: networkHost, source: "config.json")
            let plan = SandboxPlan(
                sandbox: "s1", hostname: "h", network: network,
                basis: try .init(Configuration(), host: host, hypervisor: FakeHypervisor(capabilities)), cgroups: nil)
            return #expect(throws: SandboxError.self) { try plan.checkCapabilities() }?.description
        }
        #expect(
            try refusal(
                .init(hotPlug: [], hotUnplug: [], channels: [.vhostVsock], shares: [.virtioFS], hasSnapshots: false))
                == "guest_channel: FakeVM does not have this device")
        #expect(
            try refusal(.init(hotPlug: [], hotUnplug: [], channels: [.vhostUserVsock], shares: [], hasSnapshots: false))
                == "shared_fs: FakeVM does not have virtio-fs")
    }

    @Test("the sandbox's cgroups on the host are the manager's with Kata's prefix")
    func groups() throws {
        var linux = OCISpec.Linux()
        linux.cgroupsPath = "/docker/s1"
        var configuration = Configuration()
        let apart = SandboxPlan.Cgroups(linux, sandbox: "s1", configuration: configuration)
        #expect(apart.machine == "/docker/kata_s1" && apart.helpers == "/kata_overhead/s1")
        try configuration.merge(text: "[runtime]\nsandbox_cgroup_only = true\n", file: "c.toml")
        let together = SandboxPlan.Cgroups(linux, sandbox: "s1", configuration: configuration)
        #expect(together.helpers == "/docker/kata_s1" && together.overhead == nil)
    }

    @Test("the helpers' own group may use the guest's memory and an overhead; 0 is no limit")
    func overhead() throws {
        func limits(_ toml: String) throws -> Cgroup.Limits? {
            var configuration = Configuration()
            try configuration.merge(text: "[runtime]\n" + toml, file: "c.toml")
            return SandboxPlan.Cgroups(nil, sandbox: "s1", configuration: configuration).overhead?.limits(
                machineMiB: 2048)
        }
        #expect(try limits("") == .init(memory: (2048 + 1024) << 20, tasks: 1024))
        #expect(
            try limits("overhead_memory_limit = 100\noverhead_pids_limit = 7\n") == .init(memory: 2148 << 20, tasks: 7))
        #expect(try limits("overhead_memory_limit = 0\noverhead_pids_limit = 0\n") == .init())
    }

    @Test("no more processors than the host has")
    func processors() throws {
        #expect(try plan("[hypervisor.qemu]\ndefault_vcpus = 64\n").machine.vcpus == 4)
        #expect(try plan("[hypervisor.qemu]\ndefault_maxvcpus = 2\n").machine.maxVCPUs == 2)
    }

    private func network(_ path: String?, toml: String = "", role: String? = nil, process: Int32? = nil) throws
        -> NetworkSettings
    {
        var configuration = Configuration()
        try configuration.merge(text: toml, file: "c.toml")
        var spec = Spec.example
        spec.linux?.namespaces?.removeAll { $0.type == "network" }
        if let path { spec.linux?.namespaces = [.init(type: "network", path: path.isEmpty ? nil : path)] }
        if let role { spec.annotations = ["io.kubernetes.cri.container-type": role] }
        return try NetworkSettings(
            spec, process: process, configuration: configuration, host: networkHost, source: "config.json")
    }

    @Test("a machine has the given namespace, that of its attach process, or a new one")
    func networkNamespaces() throws {
        #expect(try network("/run/netns/a").namespace == .path("/run/netns/a"))
        #expect(try network("").namespace == .made)
        #expect(try network("", process: 9).namespace == .path("/proc/9/ns/net"))
        #expect(try network("/proc/77/ns/net", role: "sandbox").namespace == .path("/proc/77/ns/net"))
        let toml = "[runtime]\ndisable_new_netns = true\ninternetworking_model = \"none\"\n"
        #expect(try network(nil, toml: toml).namespace == .none)
        #expect(try network("", toml: "[hypervisor.qemu]\nnetwork_queues = 3\n").queues == 3)
    }

    @Test(
        "the host's network, another container's, and none at all are refused before anything is touched",
        arguments: [
            (nil, "", "config.json: linux.namespaces: host networking is not possible"),
            ("/host", "", "linux.namespaces[0].path: /host is the host's"),
            ("/proc/1/ns/net", "", "/proc/1/ns/net is the host's"),
            (
                "/proc/77/ns/net", "",
                "/proc/77/ns/net is that of another container (process 77), whose links can't be in a second machine: "
                    + "give both a common network, or let both be in one machine, as a pod or by kata-runtime"
            ),
            ("/gone", "", "/gone is no network namespace, or is gone"),
            (
                "", "[runtime]\ndisable_new_netns = true\n",
                "disable_new_netns: true needs internetworking_model = \"none\""
            ),
        ] as [(String?, String, String)])
    func networkRefusals(_ path: String?, _ toml: String, _ words: String) {
        let error = #expect(throws: SpecError.self) { try network(path, toml: toml) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("a sandbox without a container has the namespace that its manager names, or a new one; never the host's")
    func givenNamespace() throws {
        func settings(_ path: String) throws -> NetworkSettings {
            try NetworkSettings(
                namespace: path, configuration: Configuration(), host: networkHost, source: "CreateSandbox",
                field: "netns_path")
        }
        #expect(try settings("/run/netns/a").namespace == .path("/run/netns/a"))
        #expect(try settings("").namespace == .made)
        let host = #expect(throws: SpecError.self) { try settings("/host") }
        #expect(host?.description.hasPrefix("CreateSandbox: netns_path: /host is the host's") == true)
        let gone = #expect(throws: SpecError.self) { try settings("/gone") }
        #expect(gone?.description == "CreateSandbox: netns_path: /gone is no network namespace, or is gone")
    }

    @Test("only a resolver at Docker's address is relayed")
    func resolvers() {
        #expect(NameRelay.isNeeded(by: "search x\nnameserver 127.0.0.11\noptions ndots:0\n"))
        for other in ["", "nameserver 127.0.0.1\n", "# nameserver 127.0.0.11", "nameserver 8.8.8.8"] {
            #expect(!NameRelay.isNeeded(by: other))
        }
    }
}
