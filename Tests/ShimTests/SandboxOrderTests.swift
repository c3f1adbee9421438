import Configuration
import LinuxKernel
import Network
import OCISpec
import Pod
import Sandbox
import ShimAPI
import SwiftProtobuf
import TestSupport
import Testing

@testable import Shim

/// Orders for new sandboxes, from calls of the Sandbox API.
@Suite("A sandbox's order")
struct SandboxOrderTests {
    private typealias Request = Containerd_Runtime_Sandbox_V1_CreateSandboxRequest

    private let host = HostNames(hostname: "node", hosts: "127.0.0.1 node\n", resolver: "nameserver 192.0.2.53\n")

    private func any(_ type: String, _ message: some Message) throws -> Google_Protobuf_Any {
        var any = Google_Protobuf_Any()
        (any.typeURL, any.value) = (type, try message.serializedBytes())
        return any
    }

    private func order(_ change: (inout Request) throws -> Void) throws -> SandboxOrder {
        var request = Request.with { ($0.sandboxID, $0.bundlePath) = ("s1", "/nothing") }
        try change(&request)
        return try SandboxOrder(request, host: host)
    }

    private func order(_ pod: Runtime_V1_PodSandboxConfig, type: String = "runtime.v1.PodSandboxConfig") throws
        -> SandboxOrder
    {
        try order {
            $0.options = try any(type, pod)
            $0.netnsPath = "/run/netns/a"
        }
    }

    private func path(_ order: SandboxOrder) -> String? {
        if case .namespace(let path, _) = order.network { path } else { nil }
    }

    @Test("a pod's configuration gives sizes, names, sysctls, cgroup and overhead; the request gives the network")
    func pod() throws {
        let order = try order(
            .with {
                $0.hostname = "web-0"
                $0.dnsConfig = .with {
                    $0.servers = ["10.0.0.10", "10.0.0.10", "10.0.0.11"]
                    $0.searches = ["a.local", "b.local", "a.local"]
                    $0.options = ["ndots:5", "ndots:5"]
                }
                $0.annotations = ["io.katacontainers.config.hypervisor.default_vcpus": "2"]
                $0.linux.cgroupParent = "/kubepods/burstable/pod1"
                $0.linux.sysctls = ["kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "80"]
                $0.linux.overhead.memoryLimitInBytes = 160 << 20
                $0.linux.resources = .with {
                    ($0.memoryLimitInBytes, $0.cpuQuota, $0.cpuPeriod) = (512 << 20, 150_000, 100_000)
                    ($0.cpusetCpus, $0.cpusetMems) = ("2-3", "0")
                    $0.hugepageLimits = [.with { ($0.pageSize, $0.limit) = ("2MB", 64 << 20) }]
                }
            })
        #expect(order.isPod && order.hostname == "web-0" && path(order) == "/run/netns/a")
        #expect(order.annotations == ["io.katacontainers.config.hypervisor.default_vcpus": "2"])
        #expect(order.demand.memory == 512 << 20 && order.demand.processors == 1.5)
        #expect(
            order.demand.hugePages == 64 << 20 && order.demand.processorSet == [2, 3] && order.demand.nodeSet == [0])
        #expect(order.pod == PodLimits(memory: 512 << 20, processors: 1.5))
        #expect(order.linux?.cgroupsPath == "/kubepods/burstable/pod1/s1")
        #expect(order.linux?.resources?.cpu?.cpus == "2-3")
        #expect(
            order.standalone
                == .init(
                    files: PodFiles(
                        resolver:
                            "search a.local b.local\nnameserver 10.0.0.10\nnameserver 10.0.0.11\noptions ndots:5\n",
                        hosts: host.hosts, hostname: "web-0"),
                    sysctls: [
                        "kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "80",
                        "net.ipv4.ping_group_range": "0 2147483647",
                    ], memoryOverhead: 160 << 20))
    }

    @Test("a configuration without resources asks for nothing, and has the host's names")
    func bare() throws {
        let order = try order(Runtime_V1_PodSandboxConfig())
        #expect(order.demand == Demand() && order.pod == PodLimits() && order.linux?.cgroupsPath == nil)
        #expect(
            order.standalone?.files == PodFiles(resolver: host.resolver, hosts: host.hosts, hostname: "node"))
        #expect(order.hostname == "" && order.standalone?.memoryOverhead == nil)
    }

    @Test("a slice of systemd is named as containerd names it, and shares without a limit give processors")
    func forms() throws {
        let order = try order(
            .with {
                $0.linux.cgroupParent = "/kubepods.slice/kubepods-pod1.slice"
                $0.linux.resources = .with { ($0.cpuQuota, $0.cpuShares) = (-1, 2048) }
            }, type: "type.googleapis.com/runtime.v1.PodSandboxConfig")
        #expect(order.linux?.cgroupsPath == "kubepods-pod1.slice:cri-containerd:s1")
        #expect(order.demand.processors == 2 && order.pod == PodLimits())
    }

    @Test("annotations of the Container Runtime Interface that a user has set don't count; the request's do")
    func annotations() throws {
        let pod = Runtime_V1_PodSandboxConfig.with {
            $0.annotations = [
                "io.kubernetes.cri.sandbox-memory": "1", "io.kubernetes.cri-o.SandboxID": "s2", "mine": "1", "a": "1",
            ]
        }
        let order = try order {
            $0.options = try any("runtime.v1.PodSandboxConfig", pod)
            $0.annotations = ["a": "2"]
        }
        #expect(order.annotations == ["mine": "1", "a": "2"] && order.pod.memory == nil)
    }

    @Test(
        "the host's network and IPC are refused by the field; its pid namespace is the guest's",
        arguments: [
            ("network", "host networking is not possible"), ("ipc", "hostIPC is not possible"), ("pid", nil),
        ] as [(String, String?)])
    func hostNamespaces(_ field: String, _ words: String?) throws {
        let pod = Runtime_V1_PodSandboxConfig.with {
            $0.linux.securityContext.namespaceOptions = .with {
                if field == "network" { $0.network = .node }
                if field == "ipc" { $0.ipc = .node }
                if field == "pid" { $0.pid = .node }
            }
        }
        guard let words else {
            _ = try order(pod)
            return
        }
        let error = #expect(throws: SpecError.self) { try order(pod) }
        let place = "runtime.v1.PodSandboxConfig: linux.security_context.namespace_options.\(field): "
        #expect(error?.description.hasPrefix(place + words) == true)
    }

    @Test("options of another type are refused by their type, in one line; so are bytes that are no configuration")
    func unknown() throws {
        for type in ["containerd.runc.v1.Options", "runtime.v2.PodSandboxConfig\n", "x"] {
            let error = #expect(throws: SandboxError.self) { try order(Runtime_V1_PodSandboxConfig(), type: type) }
            #expect(error?.kind == .invalid && error?.description.contains("\n") == false)
            #expect(error?.description.hasSuffix("is not known: expected runtime.v1.PodSandboxConfig") == true)
        }
        let error = #expect(throws: SandboxError.self) {
            try order { ($0.options.typeURL, $0.options.value) = ("runtime.v1.PodSandboxConfig", .init([0xff])) }
        }
        #expect(error?.description == "options: not a runtime.v1.PodSandboxConfig")
    }

    @Test("runtime options name the configuration; without options there is a new network and no demand")
    func runtimeOptions() throws {
        let path = Runtimeoptions_V1_Options.with { $0.configPath = "/etc/mine.toml" }
        for type in ["runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options"] {
            #expect(try order { $0.options = try any(type, path) }.configurationPath == "/etc/mine.toml")
        }
        let empty = try order { _ in }
        #expect(empty.configurationPath == nil && self.path(empty) == "" && empty.demand == Demand())
        #expect(empty.standalone == .init() && empty.isPod)
        #expect(try order { $0.options = try any("google.protobuf.Empty", Google_Protobuf_Empty()) }.annotations == [:])
    }

    @Test("a specification in the bundle or the options plans the sandbox; the request's network comes before its own")
    func specification() throws {
        let scratch = Scratch()
        var spec = Spec.example
        spec.annotations = ["io.kubernetes.cri.sandbox-memory": "1048576"]
        spec.linux?.namespaces = [.init(type: "network", path: "/run/netns/b")]
        spec.linux?.sysctl = ["kernel.domainname": "x"]
        try Files.write(scratch.path + "/config.json", spec.json())
        let inBundle = try order { $0.bundlePath = scratch.path }
        let inOptions = try order { $0.options = SpecPart.spec.message(spec.json()) }
        for order in [inBundle, inOptions] {
            #expect(path(order) == "/run/netns/b" && order.hostname == "kata" && order.demand.memory == 1 << 20)
            #expect(order.pod.memory == 1 << 20 && order.standalone == .init(sysctls: ["kernel.domainname": "x"]))
        }
        let given = try order {
            $0.bundlePath = scratch.path
            $0.netnsPath = "/run/netns/a"
        }
        #expect(path(given) == "/run/netns/a")
    }

    @Test("a namespace that is none is refused by the name of the request's field")
    func namespaceField() throws {
        let order = try order { $0.netnsPath = "/none" }
        let host = NetworkSettings.Host(namespace: 1, hasVhost: false) { _ in nil }
        let error = #expect(throws: SpecError.self) { try order.networkSettings(Configuration(), host) }
        #expect(error?.description == "CreateSandbox: netns_path: /none is no network namespace, or is gone")
    }

    @Test("the address that containerd keeps for a sandbox's container is read from its bundle")
    func keptAddress() throws {
        let scratch = Scratch()
        #expect(StartParameters.keptAddress(in: scratch.path) == nil)
        try Files.write(
            scratch.path + "/bootstrap.json", #"{"version":3,"address":"unix:///run/s/1","protocol":"ttrpc"}"#)
        #expect(StartParameters.keptAddress(in: scratch.path) == "unix:///run/s/1")
        try Files.write(scratch.path + "/bootstrap.json", "unix")
        #expect(StartParameters.keptAddress(in: scratch.path) == nil)
    }
}
