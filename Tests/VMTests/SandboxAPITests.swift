import Foundation
import LinuxKernel
import OCISpec
import ShimAPI
import SwiftProtobuf
import TTRPC
import Testing

/// containerd's Sandbox API, in the order of its calls for pods with `sandboxer = "shim"`. Debian 12 has no containerd
/// that makes them.
@Suite(
    "containerd's Sandbox API, with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct SandboxAPITests {
    /// A shim that `start` has begun in a bundle without config.json, and its network namespace.
    private struct Pod: Sendable {
        let id: String
        let lab: Lab
        let manager: Manager
        let shim: Manager.Shim
        var namespace: String { "/run/netns/\(id)" }

        func call<Reply: Message>(_ method: String, _ request: some Message) async throws -> Reply {
            try await shim.client.call(SandboxServiceClient.serviceName, method, request, timeout: .seconds(120))
        }

        func create() async throws {
            var pod = Runtime_V1_PodSandboxConfig()
            pod.hostname = "web"
            pod.dnsConfig = .with { ($0.servers, $0.searches) = (["192.0.2.53", "192.0.2.53"], ["tests.local"]) }
            pod.linux.sysctls = ["kernel.shm_rmid_forced": "1"]
            pod.linux.cgroupParent = "/" + id
            pod.linux.resources.memoryLimitInBytes = 96 << 20
            var request = Containerd_Runtime_Sandbox_V1_CreateSandboxRequest()
            (request.sandboxID, request.bundlePath, request.netnsPath) = (id, shim.bundle, namespace)
            request.options = try Google_Protobuf_Any(plain: pod)
            let _: Containerd_Runtime_Sandbox_V1_CreateSandboxResponse = try await call("CreateSandbox", request)
        }

        func start() async throws -> UInt32 {
            let request = Containerd_Runtime_Sandbox_V1_StartSandboxRequest.with { $0.sandboxID = id }
            let reply: Containerd_Runtime_Sandbox_V1_StartSandboxResponse = try await call("StartSandbox", request)
            return reply.pid
        }

        func wait() async throws -> UInt32 {
            let request = Containerd_Runtime_Sandbox_V1_WaitSandboxRequest.with { $0.sandboxID = id }
            let reply: Containerd_Runtime_Sandbox_V1_WaitSandboxResponse = try await call("WaitSandbox", request)
            return reply.exitStatus
        }

        func stop() async throws {
            let request = Containerd_Runtime_Sandbox_V1_StopSandboxRequest.with { $0.sandboxID = id }
            let _: Containerd_Runtime_Sandbox_V1_StopSandboxResponse = try await call("StopSandbox", request)
        }

        func status() async throws -> Containerd_Runtime_Sandbox_V1_SandboxStatusResponse {
            try await call(
                "SandboxStatus",
                Containerd_Runtime_Sandbox_V1_SandboxStatusRequest.with { ($0.sandboxID, $0.verbose) = (id, true) })
        }

        func metrics() async throws -> Google_Protobuf_Any {
            let request = Containerd_Runtime_Sandbox_V1_SandboxMetricsRequest.with { $0.sandboxID = id }
            let reply: Containerd_Runtime_Sandbox_V1_SandboxMetricsResponse = try await call("SandboxMetrics", request)
            return reply.metrics.data
        }

        func shutdown() async throws {
            let request = Containerd_Runtime_Sandbox_V1_ShutdownSandboxRequest.with { $0.sandboxID = id }
            let _: Containerd_Runtime_Sandbox_V1_ShutdownSandboxResponse = try await call("ShutdownSandbox", request)
        }

        /// A task that runs a script in the sandbox's namespaces, as CRI names them.
        func task(_ name: String, pid: UInt32, _ script: String) async throws -> Manager.Shim {
            var spec = Spec.example
            spec.annotations = [
                "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": id,
            ]
            spec.process?.terminal = false
            spec.process?.args = ["sh", "-c", script]
            let capabilities = ["CAP_NET_RAW", "CAP_KILL"]
            spec.process?.capabilities?.bounding = capabilities
            spec.process?.capabilities?.effective = capabilities
            spec.process?.capabilities?.permitted = capabilities
            spec.root = Root(path: lab.rootfs)
            spec.hostname = nil
            spec.linux?.namespaces =
                [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")].map {
                    .init(type: $0, path: "/proc/\(pid)/ns/\($1)")
                } + [.init(type: "mount")]
            let task = try manager.task(
                "\(id)-\(name)", in: shim, config: String(decoding: spec.json(), as: UTF8.self))
            _ = try await task.create()
            try await task.start()
            return task
        }

        func expectGone() throws {
            #expect(try lab.leftovers(id) == "")
            #expect(try lab.sh("ls -d /sys/fs/cgroup/*/\(id)/*/ /sys/fs/cgroup/\(id)/*/ 2> /dev/null").output == "")
            // The links are as the manager has made them.
            #expect(try lab.sh("ip -n \(id) -o link | grep -c _kata").output == "0\n")
            #expect(!Files.exists(shim.socket))
        }
    }

    private func withPod(_ body: @Sendable (Pod) async throws -> Void) async throws {
        try await Lab.apart { try await self.prepared(body) }
    }

    private func prepared(_ body: @Sendable (Pod) async throws -> Void) async throws {
        let lab = try Lab()
        let id = "t-standalone\(UInt32.random(in: 0...UInt32.max))"
        let manager = try await Manager(lab, runtime: lab.configuration)
        defer {
            try? manager.delete(id)
            _ = try? lab.sh(
                "ip netns del \(id); ip netns del \(id)-peer; rmdir /sys/fs/cgroup/*/\(id) /sys/fs/cgroup/\(id)")
            lab.remove()
        }
        try lab.sh(
            """
            set -e; mkdir -p rootfs/etc; touch rootfs/etc/resolv.conf
            ip netns add \(id); ip netns add \(id)-peer
            ip -n \(id) link add eth0 type veth peer name eth0 netns \(id)-peer
            ip -n \(id) addr add 10.98.7.2/24 dev eth0; ip -n \(id)-peer addr add 10.98.7.1/24 dev eth0
            ip -n \(id) link set eth0 up; ip -n \(id)-peer link set eth0 up
            """
        ).check()
        var bootstrap = Containerd_Runtime_Bootstrap_V1_BootstrapParams()
        (bootstrap.instanceID, bootstrap.namespace, bootstrap.containerdVersion) = (id, "moby", "v2.3.0")
        let shim = try await manager.shim(id, config: nil, input: try bootstrap.serializedBytes())
        #expect(shim.service == "containerd.task.v3.Task")
        try await body(Pod(id: id, lab: lab, manager: manager, shim: shim))
    }

    private static let first = """
        hostname; cat /etc/hostname /etc/resolv.conf; cat /proc/sys/kernel/shm_rmid_forced
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ping -c 1 10.98.7.1 | grep -o '1 packets received'
        tr '\\0' '\\n' < /proc/1/cmdline | head -n 1; echo shared > /dev/shm/file; df /dev/shm | tail -n 1 | awk '{print $2}'
        sh -c 'sleep 0.1 & exec true'; sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null | wc -l
        echo ready; trap 'exit 7' TERM; while :; do sleep 0.1; done
        """

    @Test("a pod without a container of its own: two tasks with its names, network and memory, and nothing after it")
    func life() async throws {
        try await withPod { pod in
            try await pod.create()
            #expect(try await pod.status().state == "SANDBOX_NOTREADY")
            let pid = try await pod.start()
            let numbers = try pod.lab.sh("stat -L -c %i /proc/\(pid)/ns/net \(pod.namespace) | uniq | wc -l").output
            #expect(numbers == "1\n")
            async let end = pod.wait()
            let status = try await pod.status()
            #expect(status.state == "SANDBOX_READY" && status.pid == pid && status.info["hypervisor"] == "QEMU")
            let first = try await pod.task("first", pid: pid, Self.first)
            try await first.wait(for: "ready")
            #expect(
                first.output == """
                    web
                    web
                    search tests.local
                    nameserver 192.0.2.53
                    1
                    0
                    1 packets received
                    pause
                    65536
                    0
                    ready

                    """)
            let second = try await pod.task(
                "second", pid: pid, "cat /dev/shm/file; ps | grep -c 'trap.*TERM'; exit 3")
            #expect(try await second.wait() == 3)
            #expect(second.output.hasPrefix("shared\n") && !second.output.hasSuffix("\n0\n"))
            let figures = try await pod.metrics()
            switch figures.typeURL {
            case "io.containerd.cgroups.v1.Metrics":
                let metrics = try Io_Containerd_Cgroups_V1_Metrics(serializedBytes: Array(figures.value))
                #expect(metrics.memory.usage.usage > 0 && metrics.pids.current > 0)
            case "io.containerd.cgroups.v2.Metrics":
                let metrics = try Io_Containerd_Cgroups_V2_Metrics(serializedBytes: Array(figures.value))
                #expect(metrics.memory.usage > 0 && metrics.pids.current > 0)
            case let other: Issue.record("figures of type \(other)")
            }
            #expect(try await second.delete() == 3)
            try await second.shutdown()
            try await first.kill(15)
            #expect(try await first.delete() == 7)
            try await first.shutdown()
            #expect(try await pod.status().state == "SANDBOX_READY")
            try await pod.stop()
            #expect(try await end == 0)
            #expect(try await pod.status().state == "SANDBOX_NOTREADY")
            try await pod.shutdown()
            try pod.manager.delete(pod.id)
            #expect(
                pod.manager.events == ["create", "start", "create", "start", "exit", "delete", "exit", "delete"])
            try pod.expectGone()
        }
    }

    @Test(
        "a machine that is killed ends the pod: Wait returns, its tasks have ended, and what it had on the host is gone"
    )
    func loss() async throws {
        try await withPod { pod in
            try await pod.create()
            let pid = try await pod.start()
            let task = try await pod.task("task", pid: pid, "while :; do sleep 1; done")
            async let end = pod.wait()
            let machine = try #require(try await pod.status().info["hypervisor_pid"].flatMap { Int32($0) })
            kill(machine, SIGKILL)
            #expect(try await end == 137)
            #expect(try await task.delete() == 137)
            #expect(try await pod.status().state == "SANDBOX_NOTREADY")
            try await pod.shutdown()
            try pod.manager.delete(pod.id)
            try pod.expectGone()
        }
    }

    @Test("after the loss of its shim, `delete` in the sandbox's bundle removes everything of the pod")
    func lostShim() async throws {
        try await withPod { pod in
            try await pod.create()
            _ = try await pod.task("task", pid: try await pod.start(), "while :; do sleep 1; done")
            let shim = try #require(Int32(try Files.readText(pod.shim.bundle + "/shim.pid")))
            kill(shim, SIGKILL)
            try pod.manager.delete(pod.id)
            try pod.expectGone()
        }
    }

    @Test("`delete` in the bundle of a sandbox whose shim lives ends the pod: its manager has lost it")
    func lostManager() async throws {
        try await withPod { pod in
            try await pod.create()
            let task = try await pod.task("task", pid: try await pod.start(), "while :; do sleep 1; done")
            try pod.manager.delete(task.id)
            #expect(try await pod.status().state == "SANDBOX_READY")
            try pod.manager.delete(pod.id)
            try pod.expectGone()
        }
    }
}
