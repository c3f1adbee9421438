import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import NIOPosix
import OCISpec
import TTRPC
import TestSupport
import Testing

@testable import Agent

@Suite("The agent's container verbs, on a fake kernel", .timeLimit(.minutes(5)))
struct ServiceTests {
    private static let storages = [
        (driver: "scsi", at: "/a"), (driver: SocketRelay.driver, at: "/s"), (driver: "ephemeral", at: "/b"),
    ]

    private func waitCode(_ agent: FakeGuest, _ id: String, _ exec: String = "") async -> RPCError.Code? {
        await code { _ = try await agent.wait(id, exec) }
    }

    // MARK: The sandbox

    @Test("modules are loaded after the share is mounted, each with its parameters; one that is missing is an error")
    func modules() async throws {
        let agent = try FakeGuest()
        var request = Grpc_CreateSandboxRequest()
        request.storages = [.with { ($0.fstype, $0.mountPoint) = ("virtiofs", "/share") }]
        request.kernelModules = [.with { ($0.name, $0.parameters) = ("e1000e", ["EEE=1", "debug=2"]) }]
        _ = try await agent.service.createSandbox(request, CallContext())
        #expect(agent.kernel.steps == ["mount /share", "module e1000e EEE=1 debug=2"])
        agent.kernel.refuse("module e1000e EEE=1 debug=2")
        let refusal = await code { [request] in _ = try await agent.service.createSandbox(request, CallContext()) }
        #expect(refusal != nil)
    }

    // MARK: One container

    @Test("creation acquires in order, and removal gives everything back")
    func life() async throws {
        let agent = try FakeGuest()
        try await agent.create("c", storages: Self.storages)
        #expect(agent.kernel.steps == ["enter shares", "mount /a", "listen /s", "mount /b", "create cgroup", "launch"])
        try await agent.start("c")
        agent.kernel.forgetSteps()
        try await agent.remove("c")
        #expect(agent.kernel.steps == ["remove cgroup", "close /s", "unmount /b", "unmount /a", "forget files"])
        try await agent.create("c")
    }

    @Test(
        "a creation that fails undoes what was done, the last first, and leaves the id free",
        arguments: [
            ("mount /a", []), ("listen /s", ["unmount /a"]), ("mount /b", ["close /s", "unmount /a"]),
            ("create cgroup", ["remove cgroup", "unmount /b", "close /s", "unmount /a"]),
            ("launch", ["remove cgroup", "unmount /b", "close /s", "unmount /a"]),
        ] as [(String, [String])])
    func undo(refused: String, undone: [String]) async throws {
        let agent = try FakeGuest()
        agent.kernel.refuse(refused)
        let error = await #expect(throws: RPCError.self) { try await agent.create("c", storages: Self.storages) }
        #expect(error?.message == "no \(refused)")
        let failed = try #require(agent.kernel.steps.firstIndex(of: refused))
        #expect(Array(agent.kernel.steps[(failed + 1)...]) == undone + ["forget files"])
        agent.kernel.refuse(nil)
        try await agent.create("c", storages: Self.storages)
    }

    @Test("a filter that can't be compiled undoes the storages")
    func filter() async throws {
        let agent = try FakeGuest()
        var request = FakeGuest.request("c", storages: [("scsi", "/a")])
        var spec = Spec.example
        spec.linux?.seccomp = try Linux.Seccomp.decode(
            json: Array(#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONE"]}"#.utf8), source: "s")
        request.specJson = .init(spec.json())
        let refusal = await code { [request] in _ = try await agent.service.createContainer(request, CallContext()) }
        #expect(refusal != nil)
        // Refused in the plan, or undone.
        #expect(agent.kernel.steps.isEmpty || agent.kernel.steps.suffix(2) == ["unmount /a", "forget files"])
    }

    @Test("refusals have the code that clients act on")
    func refusals() async throws {
        let agent = try FakeGuest()
        for id in ["", "a/b"] {
            #expect(await code { try await agent.create(id) } == .invalidArgument)
        }
        #expect(await code { try await agent.start("c") } == .notFound)
        #expect(await code { try await agent.remove("c") } == .notFound)
        #expect(await code { try await agent.signal("c", SIGKILL) } == .notFound)
        #expect(await code { try await agent.exec("c", "e") } == .notFound)
        #expect(await waitCode(agent, "c") == .notFound)
        try await agent.create("c")
        #expect(await code { try await agent.create("c") } == .alreadyExists)
        #expect(await code { try await agent.exec("c", "") } == .alreadyExists)
        #expect(await code { try await agent.exec("c", "c") } == .alreadyExists)
        #expect(await code { try await agent.signal("c", exec: "e", SIGTERM) } == .notFound)
        #expect(agent.kernel.steps.filter { $0 == "launch" }.count == 1)
    }

    @Test("signals reach one process or the cgroup; a first process that ignores SIGTERM gets SIGKILL")
    func signals() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        try await agent.start("c")
        try await agent.exec("c", "e")
        let container = try agent.guest.containers.find("c")
        let further = try container.process("e")
        try await agent.signal("c", exec: "e", SIGTERM)
        #expect(agent.kernel.exitStatus(of: further) == 128 + SIGTERM)
        #expect(try await agent.wait("c", "e") == 128 + SIGTERM)
        // A wait forgets the process.
        #expect(await waitCode(agent, "c", "e") == .notFound)
        try await agent.signal("c", SIGKILL)
        #expect(try Files.readText(container.cgroup.path + "/cgroup.kill") == "1")
        try await agent.signal("c", exec: "c", SIGTERM)
        #expect(agent.kernel.exitStatus(of: container.initial) == 128 + SIGKILL)
        #expect(try await agent.wait("c") == 128 + SIGKILL)
        #expect(await code { try await agent.exec("c", "f") } == .failedPrecondition)
    }

    @Test("with a container's first process everything in its cgroup ends, before anybody learns the exit status")
    func endOfFirst() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        try await agent.start("c")
        try await agent.exec("c", "e")
        let container = try agent.guest.containers.find("c")
        let further = try container.process("e")
        try further.signal(SIGKILL)
        _ = agent.kernel.exitStatus(of: further)
        let killed = { try Files.readText(container.cgroup.path + "/cgroup.kill") }
        // The end of a further process ends no other.
        #expect(try killed() == "")
        try container.initial.signal(SIGKILL)
        #expect(agent.kernel.exitStatus(of: container.initial) == 128 + SIGKILL)
        #expect(try killed() == "1")
    }

    @Test("an action before the report of an exit runs at once when the process has ended already")
    func lateLastAct() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        let process = try agent.guest.containers.find("c").initial
        try process.signal(SIGKILL)
        _ = agent.kernel.exitStatus(of: process)
        let isDone = OneShot<Void>()
        process.beforeExitIsReported { isDone.complete(()) }
        #expect(isDone.value != nil)
    }

    @Test("a pod's limits are set on the cgroup above its containers'; a container without a pod has none above")
    func podLimits() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        let cgroup = try agent.guest.containers.find("c").cgroup
        let above = Files.parent(of: cgroup.path)
        for file in ["memory.max", "pids.max"] { try Files.write(above + "/" + file, "max") }
        let limits = Grpc_PodLimits.with { ($0.memory, $0.pids) = (1 << 20, 7) }
        try cgroup.applyToPod(limits.settings)
        #expect(try Files.readText(above + "/memory.max") == "1048576" && Files.readText(above + "/pids.max") == "7")
        #expect(Grpc_PodLimits().settings.isEmpty)
    }

    // MARK: The order of calls

    @Test("while a container is created its id is taken, but nothing else finds it")
    func duringCreation() async throws {
        let agent = try FakeGuest()
        let gate = try agent.kernel.gate(at: "launch")
        async let created: Void = agent.create("c")
        await gate.reached.wait()
        #expect(await code { try await agent.create("c") } == .alreadyExists)
        #expect(await code { try await agent.remove("c") } == .notFound)
        #expect(await code { try await agent.signal("c", SIGKILL) } == .notFound)
        gate.open()
        try await created
        try await agent.remove("c")
    }

    @Test("of two creations of one id that fail, neither disturbs the other")
    func failedTwice() async throws {
        let agent = try FakeGuest()
        agent.kernel.refuse("launch")
        let gate = try agent.kernel.gate(at: "launch")
        async let created = code { try await agent.create("c") }
        await gate.reached.wait()
        #expect(await code { try await agent.create("c") } == .alreadyExists)
        gate.open()
        let first = await created
        #expect(first == .internal)
        #expect(await code { try await agent.create("c") } == .internal)
    }

    @Test("while a container is removed its id is taken, and only one removal succeeds")
    func duringRemoval() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        let gate = try agent.kernel.gate(at: "remove cgroup")
        async let removed: Void = agent.remove("c")
        await gate.reached.wait()
        #expect(await code { try await agent.remove("c") } == .notFound)
        #expect(await code { try await agent.create("c") } == .alreadyExists)
        #expect(await code { try await agent.signal("c", SIGKILL) } == .notFound)
        #expect(await code { try await agent.exec("c", "e") } == .notFound)
        gate.open()
        try await removed
        #expect(agent.kernel.steps.filter { $0 == "remove cgroup" }.count == 1)
        try await agent.create("c")
    }

    @Test("a removal during an exec ends the new process")
    func removalDuringExec() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        try await agent.start("c")
        let gate = try agent.kernel.gate(at: "exec")
        async let executed = code { try await agent.exec("c", "e") }
        await gate.reached.wait()
        #expect(await code { try await agent.exec("c", "e") } == .alreadyExists)
        try await agent.remove("c")
        gate.open()
        let outcome = await executed
        #expect(outcome == .failedPrecondition)
    }

    @Test("an exec that fails leaves its id free")
    func failedExec() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        agent.kernel.refuse("exec")
        #expect(await code { try await agent.exec("c", "e") } == .internal)
        agent.kernel.refuse(nil)
        try await agent.exec("c", "e")
    }

    // MARK: Pods

    @Test("namespaces of other containers become those of running processes, and disks come last")
    func rewrites() async throws {
        let agent = try FakeGuest()
        try await agent.create("a")
        let pid = try agent.guest.containers.find("a").initial.pid
        var request = FakeGuest.request("b")
        var spec = Spec.example
        spec.linux?.namespaces = [
            .init(type: "ipc", path: ContainerNamespace.path(of: "a", "ipc")), .init(type: "pid"), .init(type: "mount"),
        ]
        request.specJson = .init(spec.json())
        request.sandboxPidns = true
        let rewritten = try await agent.service.guestSpecification(of: request)
        #expect(
            rewritten.linux?.namespaces?.map { $0.path ?? "" } == ["/proc/\(pid)/ns/ipc", "", "/proc/\(pid)/ns/pid"])
        var device = Grpc_Device()
        (device.id, device.containerPath) = ("0:1", "/dev/disk")
        request.devices = [device]
        spec.linux?.namespaces = [.init(type: "ipc", path: ContainerNamespace.path(of: "nobody", "ipc"))]
        request.specJson = .init(spec.json())
        let refusal = await code { [request] in _ = try await agent.service.guestSpecification(of: request) }
        #expect(refusal == .failedPrecondition)
        #expect(!agent.kernel.steps.contains("find 0:1"))
    }

    @Test("a pod's pid namespace needs its first container to run")
    func firstContainer() async throws {
        let agent = try FakeGuest()
        var request = FakeGuest.request("b")
        request.sandboxPidns = true
        let create = { @Sendable [request] in _ = try await agent.service.createContainer(request, CallContext()) }
        let refusal = await code(create)
        #expect(refusal == .failedPrecondition)
        try await agent.create("a")
        try await create()
        try await agent.remove("a")
        #expect(agent.guest.containers.first == nil)
        try await agent.remove("b")
        try await agent.create("c")
        #expect(agent.guest.containers.first?.id == "c")
    }

    @Test("containers that share processes need no first one where the sandbox has a pid namespace of its own")
    func ownNamespace() async throws {
        let agent = try FakeGuest()
        _ = try await agent.service.createSandbox(.with { $0.sandboxPidns = true }, CallContext())
        try await agent.create("alone")
        #expect(!agent.kernel.steps.contains("pod init"))
        var request = FakeGuest.request("b")
        request.sandboxPidns = true
        var paths: [String?] = []
        for _ in 0..<2 {
            let spec = try await agent.service.guestSpecification(of: request)
            paths.append(spec.linux?.namespaces?.first { $0.type == "pid" }?.path)
        }
        let pid = try #require(agent.guest.state.withLock { $0.podInit?.pid })
        #expect(paths == ["/proc/\(pid)/ns/pid", "/proc/\(pid)/ns/pid"])
        #expect(agent.kernel.steps.filter { $0 == "pod init" }.count == 1)
        try await agent.remove("alone")
        _ = try await agent.service.createContainer(request, CallContext())
    }

    @Test("a sandbox's sysctls are written in the order of their names; a name that is a path elsewhere is refused")
    func sysctls() async throws {
        let agent = try FakeGuest()
        let sysctls = ["net.ipv4.tcp_syncookies": "1", "kernel.shm_rmid_forced": "1", "net/ipv4/conf/eth0.5/mtu": "9"]
        _ = try await agent.service.setSysctls(.with { $0.sysctls = sysctls }, CallContext())
        #expect(
            agent.kernel.steps == [
                "/proc/sys/kernel/shm_rmid_forced = 1", "/proc/sys/net/ipv4/tcp_syncookies = 1",
                "/proc/sys/net/ipv4/conf/eth0.5/mtu = 9",
            ])
        for name in ["", "../../etc/passwd"] {
            let refusal = await code {
                _ = try await agent.service.setSysctls(.with { $0.sysctls = [name: "1"] }, CallContext())
            }
            #expect(refusal == .invalidArgument)
        }
        #expect(agent.kernel.steps.count == 3)
    }

    // MARK: The end

    @Test("the guest powers off once its answer is written, and not before")
    func destruction() async throws {
        let agent = try FakeGuest()
        try await agent.create("c")
        let kill = try agent.guest.containers.find("c").cgroup.path + "/cgroup.kill"
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let server = RPCServer(eventLoop: agent.guest.loop, services: [Service.serviceName: agent.service.answer])
        try await server.accept(socket: ends[0])
        let client = try await RPCClient.connect(socket: ends[1], on: agent.guest.loop)
        #expect(agent.hasPoweredOff.value == nil)
        _ = try await AgentServiceClient(client: client).destroySandbox(Grpc_DestroySandboxRequest(), timeout: nil)
        await agent.hasPoweredOff.wait()
        #expect(try Files.readText(kill) == "1")
        #expect(await code { try await agent.start("c") } == .notFound)
    }
}
