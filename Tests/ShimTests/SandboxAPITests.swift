import AgentAPI
import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Pod
import Sandbox
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// containerd's Sandbox API over a sandbox on fakes.
@Suite("The Sandbox API", .timeLimit(.minutes(5)))
struct SandboxAPITests {
    private final class Ends: Sendable { let count = Atomic(0) }

    private let guest: FakeGuest
    private let fakes: FakeSandbox
    private let tasks: ContainerdTasks
    private let api: ContainerdSandboxes
    private let context = CallContext(metadata: [:])
    private let ends = Ends()

    init() throws {
        guest = try FakeGuest()
        fakes = try FakeSandbox(
            guest.agent, pod: PodLimits(), standalone: .init(sysctls: ["kernel.shm_rmid_forced": "1"]))
        tasks = ContainerdTasks(serving: fakes, isHeld: false) { [ends] _ in ends.count.add(1, ordering: .relaxed) }
        api = ContainerdSandboxes(tasks)
    }

    // MARK: Calls

    private func create(_ change: (inout Containerd_Runtime_Sandbox_V1_CreateSandboxRequest) -> Void = { _ in })
        async throws
    {
        var request = Containerd_Runtime_Sandbox_V1_CreateSandboxRequest.with { $0.sandboxID = "s1" }
        change(&request)
        _ = try await api.createSandbox(request, context)
    }

    @discardableResult
    private func start(_ id: String = "s1") async throws -> Containerd_Runtime_Sandbox_V1_StartSandboxResponse {
        try await api.startSandbox(.with { $0.sandboxID = id }, context)
    }

    private func stop(after seconds: UInt32 = 0) async throws {
        _ = try await api.stopSandbox(.with { ($0.sandboxID, $0.timeoutSecs) = ("s1", seconds) }, context)
    }

    private func wait(_ id: String = "s1") async throws -> Containerd_Runtime_Sandbox_V1_WaitSandboxResponse {
        try await api.waitSandbox(.with { $0.sandboxID = id }, context)
    }

    private func status(verbose: Bool = false) async throws -> Containerd_Runtime_Sandbox_V1_SandboxStatusResponse {
        try await api.sandboxStatus(.with { ($0.sandboxID, $0.verbose) = ("s1", verbose) }, context)
    }

    private func shutdown(_ id: String = "s1") async throws {
        _ = try await api.shutdownSandbox(.with { $0.sandboxID = id }, context)
    }

    /// Creates and starts a task of the pod, as CRI does: its namespaces are the sandbox's by its pid.
    private func task(_ id: String, sandboxPid pid: UInt32) async throws {
        let bundle = try fakes.bundle(id)
        var spec = Spec.example
        spec.process?.terminal = false
        spec.annotations = ["io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "s1"]
        spec.hostname = nil
        spec.linux?.namespaces =
            [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")].map {
                .init(type: $0, path: "/proc/\(pid)/ns/\($1)")
            } + [.init(type: "mount")]
        try Files.write(bundle + "/config.json", spec.json())
        _ = try await tasks.create(.with { ($0.id, $0.bundle) = (id, bundle) }, context)
        _ = try await tasks.start(.with { $0.id = id }, context)
    }

    private func end(_ id: String) async throws {
        _ = try await tasks.kill(.with { ($0.id, $0.signal) = (id, 9) }, context)
        _ = try await tasks.wait(.with { $0.id = id }, context)
        _ = try await tasks.delete(.with { $0.id = id }, context)
        _ = try await tasks.shutdown(.with { $0.id = id }, context)
    }

    private func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        do { try await body() } catch let error as RPCError { return error.code } catch {}
        return nil
    }

    private func expectNothingLeft(at location: SourceLocation = #_sourceLocation) async {
        try? await eventually { fakes.leftovers.isEmpty }
        #expect(fakes.leftovers == [], sourceLocation: location)
    }

    // MARK: In order

    @Test("CRI's calls in its order: a sandbox without a container of its own, two tasks in it, and nothing after it")
    func replay() async throws {
        try await create()
        #expect(try await status().state == "SANDBOX_NOTREADY" && fakes.hypervisor.machines.isEmpty)
        let started = try await start()
        #expect(kill(pid_t(started.pid), 0) == 0 && started.createdAt.seconds > 0)
        let spec = try Spec.decode(json: Array(started.spec.value), source: "spec")
        #expect(spec.linux?.namespaces?.first == .init(type: "network", path: "/proc/\(started.pid)/ns/net"))
        #expect(started.spec.typeURL == SpecPart.spec.typeURL && spec.hostname == "h")
        #expect(guest.sysctls == ["kernel.shm_rmid_forced": "1"] && guest.sharesProcesses)
        async let end = wait()
        let ready = try await status(verbose: true)
        #expect(ready.state == "SANDBOX_READY" && ready.pid == started.pid && ready.createdAt == started.createdAt)
        #expect(ready.info["hypervisor"] == "FakeVM" && ready.info["containers"] == "" && !ready.hasExitedAt)
        #expect(ready.info["info"] == #"{"pid":\#(started.pid),"processStatus":"running"}"#)
        #expect(try await status().info.isEmpty)
        let platform = try await api.platform(.with { $0.sandboxID = "s1" }, context).platform
        #expect(platform.os == "linux" && ["amd64", "arm64"].contains(platform.architecture))
        for id in ["c1", "c2"] { try await task(id, sandboxPid: started.pid) }
        #expect(guest.sharing == ["c1", "c2"] && guest.phase("s1") == nil)
        #expect(try await tasks.connect(.with { $0.id = "s1" }, context).taskPid == started.pid)
        _ = try await api.pingSandbox(.with { $0.sandboxID = "s1" }, context)
        for id in ["c1", "c2"] { try await self.end(id) }
        #expect(await fakes.sandbox.state == .ready)
        try await stop()
        let exit = try await end
        #expect(exit.exitStatus == 0 && exit.exitedAt.seconds > 0)
        let stopped = try await status()
        #expect(stopped.state == "SANDBOX_NOTREADY" && stopped.exitedAt == exit.exitedAt && stopped.pid == 0)
        #expect(kill(pid_t(started.pid), 0) != 0 && errno == ESRCH)
        await expectNothingLeft()
        #expect(ends.count.load(ordering: .relaxed) == 0)
        try await shutdown()
        #expect(ends.count.load(ordering: .relaxed) == 1)
    }

    @Test(
        "the task API's Shutdown does not end the sandbox, empty or not; its ShutdownSandbox does, with containers too")
    func owner() async throws {
        try await create()
        let pid = try await start().pid
        _ = try await tasks.shutdown(.with { $0.now = true }, context)
        try await task("c1", sandboxPid: pid)
        _ = try await tasks.shutdown(.with { ($0.id, $0.now) = ("c1", true) }, context)
        #expect(await fakes.sandbox.state == .ready)
        #expect(await !tasks.sandboxes.isUnused())
        async let end = tasks.wait(.with { $0.id = "c1" }, context)
        try await shutdown()
        #expect(try await end.exitStatus == 137)
        #expect(await fakes.sandbox.state == .gone && ends.count.load(ordering: .relaxed) == 1)
        await expectNothingLeft()
    }

    @Test("an ended task whose bundle is gone, and a failed one without a manager, leave the sandbox alone")
    func forgotten() async throws {
        try await create()
        let pid = try await start().pid
        try await task("c1", sandboxPid: pid)
        guest.end("c1", status: 0)
        _ = try await tasks.wait(.with { $0.id = "c1" }, context)
        #expect(await fakes.sandbox.ended == nil)
        _ = try await tasks.delete(.with { $0.id = "c1" }, context)
        #expect(await fakes.sandbox.state == .ready)
        try await shutdown()
    }

    @Test("the machine gives memory back when the last container has gone, as the sandbox goes on")
    func shrinking() async throws {
        try await create()
        let pid = try await start().pid
        try await task("c1", sandboxPid: pid)
        let before = fakes.hypervisor.machines[0].resizes
        try await end("c1")
        try await eventually { fakes.hypervisor.machines[0].resizes > before }
        try await shutdown()
    }

    @Test("a stop with a time asks the programs to end first, and does not wait longer")
    func grace() async throws {
        try await create()
        let pid = try await start().pid
        for id in ["c1", "c2"] { try await task(id, sandboxPid: pid) }
        async let stopped: Void = stop(after: 3600)
        try await eventually { guest.signals == [15, 15] }
        #expect(await fakes.sandbox.state == .ready)
        for id in ["c1", "c2"] { guest.end(id, status: 0) }
        try await stopped
        #expect(await fakes.sandbox.state == .gone)
        #expect(try await tasks.wait(.with { $0.id = "c1" }, context).exitStatus == 0)
    }

    @Test("programs that ignore SIGTERM are killed when the time of the stop is over")
    func impatience() async throws {
        try await create()
        try await task("c1", sandboxPid: try await start().pid)
        try await stop(after: 1)
        #expect(try await tasks.wait(.with { $0.id = "c1" }, context).exitStatus == 137)
        await expectNothingLeft()
    }

    // MARK: In another order

    @Test("calls before CreateSandbox, and for another sandbox, are refused as not found")
    func unknown() async throws {
        #expect(await code { try await start() } == .notFound)
        #expect(await code { _ = try await wait() } == .notFound)
        #expect(await code { try await stop() } == .notFound)
        #expect(await code { _ = try await status() } == .notFound)
        #expect(await code { try await create { $0.sandboxID = "s2" } } == .invalidArgument)
        try await create()
        for call in [
            start,
            {
                try await shutdown($0)
                return .init()
            },
        ] {
            #expect(await code { _ = try await call("s2") } == .notFound)
        }
        #expect(await fakes.sandbox.state == .empty && ends.count.load(ordering: .relaxed) == 0)
    }

    @Test("a sandbox is created once and started once; tasks need it started")
    func twice() async throws {
        try await create()
        #expect(await code { try await create() } == .alreadyExists)
        #expect(await code { try await task("c1", sandboxPid: 1) } == .failedPrecondition)
        #expect(await code { _ = try await metrics() } == .failedPrecondition)
        let pid = try await start().pid
        #expect(await code { try await start() } == .failedPrecondition)
        #expect(try await status().pid == pid && fakes.hypervisor.machines.count == 1)
        try await task("c1", sandboxPid: pid)
        try await shutdown()
    }

    @Test("a sandbox that is stopped before its start ends with status 0, and can't be started")
    func stoppedEmpty() async throws {
        try await create()
        async let end = wait()
        try await stop()
        try await stop()
        #expect(try await end.exitStatus == 0)
        #expect(await code { try await start() } == .failedPrecondition)
        #expect(await code { _ = try await api.pingSandbox(.with { $0.sandboxID = "s1" }, context) } == .unavailable)
        #expect(try await wait().exitStatus == 0)
        try await shutdown()
        try await shutdown()
        #expect(ends.count.load(ordering: .relaxed) == 1)
    }

    @Test("ShutdownSandbox ends a shim whose CreateSandbox has failed or never came")
    func neverCreated() async throws {
        try await shutdown()
        #expect(ends.count.load(ordering: .relaxed) == 1)
    }

    @Test("a sandbox that a first container has made is not the Sandbox API's")
    func foreign() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        let tasks = ContainerdTasks(serving: fakes) { [ends] _ in ends.count.add(1, ordering: .relaxed) }
        let api = ContainerdSandboxes(tasks)
        let refusals = [
            await code { _ = try await api.shutdownSandbox(.with { $0.sandboxID = "s1" }, context) },
            await code { _ = try await api.stopSandbox(.with { $0.sandboxID = "s1" }, context) },
            await code { _ = try await api.sandboxStatus(.with { $0.sandboxID = "s1" }, context) },
        ]
        #expect(refusals == [.notFound, .notFound, .notFound])
        #expect(
            await code { _ = try await api.createSandbox(.with { $0.sandboxID = "s1" }, context) } == .alreadyExists)
        #expect(await fakes.sandbox.state == .ready && ends.count.load(ordering: .relaxed) == 0)
        await fakes.sandbox.stop()
    }

    // MARK: At once

    @Test("a stop during the start: the start fails, both stops wait for the end, and nothing is left")
    func stoppedWhileStarting() async throws {
        try await create()
        guest.ignore("CreateSandbox")
        let starting = Task { await code { try await start() } }
        try await eventually { guest.calls.contains("CreateSandbox") }
        async let end = wait()
        async let first: Void = stop()
        async let second: Void = stop()
        _ = try await (first, second)
        #expect(await fakes.sandbox.state == .gone)
        #expect(await starting.value == .failedPrecondition)
        #expect(try await end.exitStatus == 0)
        await expectNothingLeft()
        try await shutdown()
    }

    @Test("a stop while a task is created: both calls are answered, and the guest is gone")
    func stoppedWhileCreating() async throws {
        try await create()
        let pid = try await start().pid
        guest.ignore("CreateContainer")
        let creating = Task { await code { try await task("c1", sandboxPid: pid) } }
        try await eventually { guest.calls.contains("CreateContainer") }
        try await stop()
        #expect(await creating.value != nil)
        #expect(await fakes.sandbox.state == .gone && ends.count.load(ordering: .relaxed) == 0)
        await expectNothingLeft()
        try await shutdown()
    }

    // MARK: Losses

    private func expectLost(_ pid: UInt32, _ reason: String?, by loss: () -> Void) async throws {
        try await task("c1", sandboxPid: pid)
        async let task = tasks.wait(.with { $0.id = "c1" }, context)
        async let end = wait()
        loss()
        #expect(try await end.exitStatus == 137)
        #expect(try await task.exitStatus == 137)
        let lost = try await status(verbose: true)
        #expect(lost.state == "SANDBOX_NOTREADY" && lost.pid == 0 && lost.hasExitedAt)
        #expect(lost.info["reason"] == reason)
        // The sandbox cleans up by itself: containerd does not stop one that is not ready.
        await expectNothingLeft()
        #expect(ends.count.load(ordering: .relaxed) == 0)
        _ = try await tasks.delete(.with { $0.id = "c1" }, context)
        try await shutdown()
        #expect(ends.count.load(ordering: .relaxed) == 1)
    }

    @Test("a machine that dies ends the sandbox: Wait returns, its state is not ready, and nothing is left on the host")
    func loss() async throws {
        try await create()
        try await expectLost(try await start().pid, nil) { fakes.hypervisor.machines[0].end(.signalled(9)) }
    }

    @Test("SIGKILL of the sandbox's process on the host ends it; other signals do nothing")
    func killed() async throws {
        try await create()
        let pid = try await start().pid
        kill(pid_t(pid), SIGTERM)
        try await expectLost(pid, "the sandbox's process on the host was killed") { kill(pid_t(pid), SIGKILL) }
    }

    @Test("a machine that does not come up: the start fails with the reason, Wait returns, and ShutdownSandbox ends it")
    func noMachine() async throws {
        fakes.hypervisor.failStarts(VMError("out of luck"))
        try await create()
        async let end = wait()
        let error = await #expect(throws: RPCError.self) { try await start() }
        #expect(error?.message.contains("out of luck") == true && error?.code == .unknown)
        #expect(try await end.exitStatus == 137)
        #expect(try await status().state == "SANDBOX_NOTREADY")
        await expectNothingLeft()
        try await shutdown()
    }

    @Test("sysctls that the guest refuses, or its agent can't set, fail the start")
    func sysctls() async throws {
        guest.refuse("SetSysctls", RPCError(.invalidArgument, "kernel.nothing is no setting"))
        try await create()
        let refusal = await #expect(throws: RPCError.self) { try await start() }
        #expect(refusal?.message.contains("kernel.nothing is no setting") == true)
        await expectNothingLeft()
        let other = try FakeGuest()
        other.lack(AgentFeature.standalone)
        let fakes = try FakeSandbox(other.agent, standalone: .init(sysctls: ["a": "1"]))
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("linux.sysctls: the guest's agent can't set them") == true)
    }

    // MARK: Figures

    private func metrics() async throws -> Containerd_Types_Metric {
        try await api.sandboxMetrics(.with { $0.sandboxID = "s1" }, context).metrics
    }

    @Test("the sandbox's figures are the sums of its containers', in the form of the host's cgroups")
    func figures() async throws {
        try await create()
        let pid = try await start().pid
        for (id, amount) in [("c1", 1), ("c2", 10)] as [(String, UInt64)] {
            try await task(id, sandboxPid: pid)
            guest.measure(
                id,
                .with {
                    $0.cgroupStats.cpuStats.cpuUsage.totalUsage = amount * 1000
                    $0.cgroupStats.memoryStats.usage = .with { ($0.usage, $0.limit) = (amount, .max) }
                    $0.cgroupStats.memoryStats.stats = ["inactive_file": amount]
                    $0.cgroupStats.pidsStats.current = amount
                    let disk = Grpc_BlkioStatsEntry.with { ($0.major, $0.op, $0.value) = (8, "Read", amount) }
                    $0.cgroupStats.blkioStats.ioServiceBytesRecursive = [disk]
                    $0.networkStats = [.with { ($0.name, $0.rxBytes) = ("eth0", amount) }]
                })
        }
        let metric = try await metrics()
        #expect(metric.id == "s1" && metric.timestamp.seconds > 0)
        let sum = Metrics.unified(try await fakes.sandbox.stats())
        #expect(sum.cpu.usageUsec == 11 && sum.memory.usage == 11 && sum.memory.inactiveFile == 11)
        #expect(sum.memory.usageLimit == .max && sum.pids.current == 11)
        #expect(sum.io.usage.map(\.rbytes) == [11] && sum.network.map(\.rxBytes) == [10])
        #expect(metric.data == (try Metrics.message(try await fakes.sandbox.stats())))
        try await shutdown()
    }
}
