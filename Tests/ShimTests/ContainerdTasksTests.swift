import Glibc
import LinuxKernel
import Logging
import NIOPosix
import OCISpec
import Sandbox
import ShimAPI
import SwiftProtobuf
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// containerd's task API over a sandbox on fakes.
@Suite("The task API", .timeLimit(.minutes(1)))
struct ContainerdTasksTests {
    private let guest: FakeGuest
    private let fakes: FakeSandbox
    private let tasks: ContainerdTasks
    private let context = CallContext(metadata: [:])

    init() throws {
        guest = try FakeGuest()
        fakes = try FakeSandbox(guest.agent)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let holder = SandboxHolder(
            identifier: "s1", configurationPath: nil, ledger: fakes.ledger, loop: loop, log: log)
        holder.hold(fakes.sandbox)
        tasks = ContainerdTasks(
            sandboxes: holder, events: EventPublisher(address: nil, namespace: "t", loop: loop, log: log), log: log,
            limits: Self.limits
        ) { _ in }
    }

    private func create(_ id: String) async throws {
        if await fakes.sandbox.state == .empty { try await fakes.sandbox.boot() }
        let bundle = try fakes.bundle(id)
        var spec = Spec.example
        spec.process?.terminal = false
        try Files.write(bundle + "/config.json", spec.json())
        _ = try await tasks.create(
            .with {
                $0.id = id
                $0.bundle = bundle
            }, context)
    }

    private static let limits = ResourceLimits(Array(repeating: "5:6", count: 16).joined(separator: ","))!

    @Test(
        "a container has the manager's resource limits where its specification names none, or those of kata-runtime's caller"
    )
    func limits() async throws {
        try await create("c1")
        let own = try #require(Spec.example.process?.rlimits?.first)
        func given(to id: String) throws -> [OCISpec.Process.Rlimit] {
            try Spec.decode(json: try #require(guest.specification(id)), source: "config.json").process?.rlimits ?? []
        }
        let limits = try given(to: "c1")
        #expect(limits.count == 16 && limits.first == own)
        #expect(limits.dropFirst().allSatisfy { $0.soft == 5 && $0.hard == 6 && $0.type != own.type })
        let bundle = try fakes.bundle("c2")
        var spec = Spec.example
        spec.process?.rlimits = nil
        try Files.write(bundle + "/config.json", spec.json())
        let text = Array(repeating: "1:2", count: 16).joined(separator: ",")
        _ = try await tasks.create(
            .with { ($0.id, $0.bundle) = ("c2", bundle) }, CallContext(metadata: [ContainerdTasks.limitsKey: [text]]))
        #expect(try given(to: "c2").map(\.hard) == Array(repeating: 2, count: 16))
        await fakes.sandbox.stop()
    }

    private func state(_ id: String) async throws -> Containerd_Task_V2_Status {
        try await tasks.state(.with { $0.id = id }, context).status
    }

    private func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        do { try await body() } catch let error as RPCError { return error.code } catch {}
        return nil
    }

    @Test("a task's life: created, running, stopped with its status, deleted")
    func life() async throws {
        try await create("c1")
        #expect(try await state("c1") == .created)
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        #expect(try await state("c1") == .running)
        async let end = tasks.wait(.with { $0.id = "c1" }, context)
        guest.end("c1", status: 5)
        #expect(try await end.exitStatus == 5)
        #expect(try await state("c1") == .stopped)
        #expect(try await tasks.delete(.with { $0.id = "c1" }, context).exitStatus == 5)
        #expect(await code { _ = try await state("c1") } == .notFound)
        await fakes.sandbox.stop()
    }

    @Test("pause, resume, kill and exec go to the sandbox")
    func verbs() async throws {
        try await create("c1")
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        _ = try await tasks.pause(.with { $0.id = "c1" }, context)
        #expect(try await state("c1") == .paused)
        _ = try await tasks.resume(.with { $0.id = "c1" }, context)
        #expect(try await state("c1") == .running)
        _ = try await tasks.exec(
            .with {
                $0.id = "c1"
                $0.execID = "e1"
                $0.spec.value = .init(Spec.example.process!.json())
            }, context)
        _ = try await tasks.start(
            .with {
                $0.id = "c1"
                $0.execID = "e1"
            }, context)
        #expect(guest.calls.contains("ExecProcess"))
        _ = try await tasks.kill(
            .with {
                $0.id = "c1"
                $0.signal = 9
            }, context)
        #expect(try await tasks.wait(.with { $0.id = "c1" }, context).exitStatus == 137)
        await fakes.sandbox.stop()
    }

    @Test("every answer has the container's own pid, and a task that has ended has no processes")
    func pids() async throws {
        try await create("c1")
        try await create("c2")
        func pid(_ id: String) async throws -> UInt32 { try await tasks.state(.with { $0.id = id }, context).pid }
        let (first, second) = (try await pid("c1"), try await pid("c2"))
        #expect(first != second)
        #expect(try await tasks.start(.with { $0.id = "c1" }, context).pid == first)
        #expect(try await tasks.connect(.with { $0.id = "c2" }, context).taskPid == second)
        #expect(try await tasks.pids(.with { $0.id = "c1" }, context).processes.map(\.pid) == [first])
        guest.end("c1", status: 0)
        _ = try await tasks.wait(.with { $0.id = "c1" }, context)
        #expect(kill(pid_t(first), 0) != 0)
        #expect(try await tasks.pids(.with { $0.id = "c1" }, context).processes.isEmpty)
        #expect(
            await code {
                _ = try await tasks.kill(
                    .with {
                        $0.id = "c1"
                        $0.signal = 9
                    }, context)
            } == .notFound)
        #expect(try await tasks.delete(.with { $0.id = "c1" }, context).pid == first)
        await fakes.sandbox.stop()
    }

    @Test("an attach process that ends before the start takes its container and the sandbox along")
    func abandoned() async throws {
        try await fakes.sandbox.boot()
        let bundle = try fakes.bundle("c1")
        var spec = Spec.example
        spec.process?.terminal = false
        try Files.write(bundle + "/config.json", spec.json())
        let attach = try ChildProcess(Command("/bin/sleep", ["60"]))
        let context = CallContext(metadata: [ContainerdTasks.processKey: ["\(attach.pid)"]])
        let answer = try await tasks.create(
            .with {
                $0.id = "c1"
                $0.bundle = bundle
            }, context)
        #expect(answer.pid == UInt32(attach.pid))
        attach.signal(SIGKILL)
        _ = attach.wait()
        while await fakes.sandbox.state != .gone { try await Task.sleep(for: .milliseconds(5)) }
    }

    @Test("refusals have the codes that containerd acts on")
    func codes() async throws {
        #expect(await code { try await create("../x") } == .invalidArgument)
        try await create("c1")
        #expect(await code { try await create("c1") } == .alreadyExists)
        #expect(await code { _ = try await tasks.start(.with { $0.id = "none" }, context) } == .notFound)
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        #expect(await code { _ = try await tasks.start(.with { $0.id = "c1" }, context) } == .failedPrecondition)
        #expect(await code { _ = try await tasks.delete(.with { $0.id = "c1" }, context) } == .failedPrecondition)
        await fakes.sandbox.stop()
    }

    @Test("a shutdown waits for the last container, unless it is to be now")
    func shutdown() async throws {
        try await create("c1")
        _ = try await tasks.shutdown(.init(), context)
        #expect(await fakes.sandbox.state == .ready)
        _ = try await tasks.shutdown(.with { $0.now = true }, context)
        #expect(await fakes.sandbox.state == .gone)
    }
}
