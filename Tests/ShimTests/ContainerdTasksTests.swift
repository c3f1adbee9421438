import Glibc
import LinuxKernel
import Logging
import NIOPosix
import OCISpec
import Sandbox
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// containerd's task API over a sandbox on fakes.
@Suite("The task API", .timeLimit(.minutes(5)))
struct ContainerdTasksTests {
    final class Ends: Sendable { let count = Atomic(0) }

    let guest: FakeGuest
    let fakes: FakeSandbox
    let tasks: ContainerdTasks
    let context = CallContext(metadata: [:])
    let ends = Ends()

    init() throws {
        guest = try FakeGuest()
        fakes = try FakeSandbox(guest.agent)
        tasks = ContainerdTasks(serving: fakes, limits: Self.limits) { [ends] _ in
            ends.count.add(1, ordering: .relaxed)
        }
    }

    func request(_ id: String) throws -> Containerd_Task_V2_CreateTaskRequest {
        let bundle = try fakes.bundle(id)
        var spec = Spec.example
        spec.process?.terminal = false
        try Files.write(bundle + "/config.json", spec.json())
        return .with { ($0.id, $0.bundle) = (id, bundle) }
    }

    func create(_ id: String) async throws {
        if await fakes.sandbox.state == .empty { try await fakes.sandbox.boot() }
        _ = try await tasks.create(try request(id), context)
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

    @Test("a terminal whose output goes to a pipe of kata-runtime's caller sends plain newlines; a manager's does not")
    func plainNewlines() async throws {
        try await create("c1")
        let plain = CallContext(metadata: [ContainerdTasks.plainNewlinesKey: [""]])
        _ = try await tasks.create(try request("c2"), plain)
        for id in ["c1", "c2"] { _ = try await tasks.start(.with { $0.id = id }, context) }
        for (exec, context) in [("e1", context), ("e2", plain)] {
            _ = try await tasks.exec(
                .with {
                    ($0.id, $0.execID, $0.terminal) = ("c1", exec, true)
                    $0.spec.value = .init(Spec.example.process!.json())
                }, context)
            _ = try await tasks.start(.with { ($0.id, $0.execID) = ("c1", exec) }, context)
        }
        #expect(guest.plainTerminals == ["c2", "e2"])
        await fakes.sandbox.stop()
    }

    func state(_ id: String) async throws -> Containerd_Task_V2_Status {
        try await tasks.state(.with { $0.id = id }, context).status
    }

    func code(_ body: () async throws -> Void) async -> RPCError.Code? {
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

    @Test("a process has a terminal as its request says, whatever its specification says", arguments: [true, false])
    func terminal(_ isAsked: Bool) async throws {
        if await fakes.sandbox.state == .empty { try await fakes.sandbox.boot() }
        var request = try request("c1")
        var spec = Spec.example
        spec.process?.terminal = !isAsked
        try Files.write(request.bundle + "/config.json", spec.json())
        request.terminal = isAsked
        _ = try await tasks.create(request, context)
        let given = try Spec.decode(json: try #require(guest.specification("c1")), source: "config.json")
        #expect(given.process?.terminal == isAsked)
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        var exec = Containerd_Task_V2_ExecProcessRequest()
        (exec.id, exec.execID, exec.terminal) = ("c1", "e1", isAsked)
        exec.spec.value = .init(try #require(spec.process).json())
        _ = try await tasks.exec(exec, context)
        _ = try await tasks.start(.with { ($0.id, $0.execID) = ("c1", "e1") }, context)
        let process = try OCISpec.Process.decode(json: try #require(guest.specification("e1")), source: "process.json")
        #expect(process.terminal == isAsked)
        await fakes.sandbox.stop()
    }

    @Test("a container of CRI-O that ran out of memory has the file oom in its bundle when its end is told")
    func outOfMemoryFile() async throws {
        if await fakes.sandbox.state == .empty { try await fakes.sandbox.boot() }
        for (id, annotations) in [("c1", ["io.kubernetes.cri-o.TTY": "false"]), ("c2", [:]), ("c3", ["a": "b"])] {
            let request = try request(id)
            var spec = Spec.example
            spec.annotations = annotations
            try Files.write(request.bundle + "/config.json", spec.json())
            _ = try await tasks.create(request, context)
            _ = try await tasks.start(.with { $0.id = id }, context)
            #expect(!Files.exists(request.bundle + "/oom"))
            async let end = tasks.wait(.with { $0.id = id }, context)
            guest.end(id, status: 137, outOfMemory: true)
            #expect(try await end.exitStatus == 137)
            #expect(Files.exists(request.bundle + "/oom") == (id == "c1"))
        }
        await fakes.sandbox.stop()
    }

    @Test("a checkpoint, and a container made from one, are refused with the sentence of the documentation")
    func checkpoint() async throws {
        let sentence = "is not possible: the processes of a container are those of a machine, which CRIU can't reach"
        let error = await #expect(throws: RPCError.self) {
            _ = try await tasks.checkpoint(.with { $0.id = "c1" }, context)
        }
        #expect(error == RPCError(.unimplemented, "checkpoint " + sentence))
        var restored = try request("c1")
        restored.checkpoint = "/images/c1"
        let refusal = await #expect(throws: RPCError.self) { _ = try await tasks.create(restored, context) }
        #expect(refusal == RPCError(.unimplemented, "restore " + sentence))
        #expect(guest.calls.allSatisfy { $0 != "CreateContainer" })
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

    @Test("an exec whose attach process is killed ends with it, and is gone")
    func killedAttachProcess() async throws {
        try await create("c1")
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        let attach = try ChildProcess(Command("/bin/sleep", ["60"]))
        let attached = CallContext(metadata: [ContainerdTasks.attachedKey: [""]], client: attach.pid)
        _ = try await tasks.exec(
            .with {
                ($0.id, $0.execID) = ("c1", "e1")
                $0.spec.value = .init(Spec.example.process!.json())
            }, context)
        _ = try await tasks.start(.with { ($0.id, $0.execID) = ("c1", "e1") }, context)
        async let end = tasks.wait(.with { ($0.id, $0.execID) = ("c1", "e1") }, attached)
        // Killed before or after the shim has begun to wait: a zombie has not ended, so either way it is seen.
        attach.signal(SIGKILL)
        #expect(try await end.exitStatus == 137)
        _ = attach.wait()
        func isGone() async -> Bool {
            await code { _ = try await tasks.state(.with { ($0.id, $0.execID) = ("c1", "e1") }, context) } == .notFound
        }
        while await !isGone() { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try await state("c1") == .running)
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

    /// Calls Create over a connection, and closes it while the guest creates the container.
    /// - Parameter meanwhile: is called before the guest's answer.
    private func createAndGo(_ id: String, meanwhile: () async throws -> Void = {}) async throws {
        if await fakes.sandbox.state == .empty { try await fakes.sandbox.boot() }
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let server = RPCServer(eventLoop: loop, services: ["containerd.task.v2.Task": tasks.answer])
        try await server.accept(socket: ends[0])
        let client = try await RPCClient.connect(socket: ends[1], on: loop)
        let request = try request(id)
        guest.ignore("CreateContainer")
        let before = guest.calls.count
        let call = Task<Containerd_Task_V2_CreateTaskResponse, any Error> {
            try await client.call("containerd.task.v2.Task", "Create", request, timeout: nil)
        }
        try await eventually { guest.calls.dropFirst(before).contains("CreateContainer") }
        hangUp(ends[1])
        await client.close()
        _ = await call.result
        try await meanwhile()
        guest.answerLate("CreateContainer")
    }

    @Test("a container whose manager has gone before the answer to its Create is removed")
    func unheard() async throws {
        try await create("c1")
        try await createAndGo("c2")
        try await eventually { await code { _ = try await state("c2") } == .notFound }
        #expect(guest.calls.last == "RemoveContainer" && guest.phase("c2") == nil)
        #expect(try await state("c1") == .created)
        await fakes.sandbox.stop()
    }

    @Test("a container that is killed while it is created, and whose manager has gone, is removed")
    func unheardAndKilled() async throws {
        try await create("c1")
        try await createAndGo("c2") {
            _ = try await tasks.kill(.with { ($0.id, $0.signal) = ("c2", 9) }, context)
            #expect(try await state("c2") == .stopped)
        }
        try await eventually { await code { _ = try await state("c2") } == .notFound }
        #expect(guest.phase("c2") == nil && guest.phase("c1") == .created)
        await fakes.sandbox.stop()
    }

    @Test("a sandbox ends with its only container, whose manager has gone before the answer to its Create")
    func unheardPod() async throws {
        try await createAndGo("c1")
        try await eventually { ends.count.load(ordering: .relaxed) == 1 }
        #expect(await fakes.sandbox.state == .gone)
    }

    @Test("a container that a restarted manager deletes while it is created is gone in the guest, too")
    func deletedWhileCreated() async throws {
        try await create("c1")
        guest.ignore("CreateContainer")
        async let creation: Void = create("c2")
        try await eventually { guest.calls.count { $0 == "CreateContainer" } == 2 }
        async let deletion = tasks.delete(.with { $0.id = "c2" }, context)
        try await Task.sleep(for: .milliseconds(20))
        #expect(!guest.calls.contains("RemoveContainer"))
        guest.answerLate("CreateContainer")
        _ = try await creation
        _ = try await deletion
        #expect(guest.phase("c2") == nil && guest.phase("c1") == .created)
        await fakes.sandbox.stop()
    }

    @Test("a shim that is ended twice ends once")
    func endedTwice() async throws {
        try await create("c1")
        async let first = tasks.shutdown(.with { $0.now = true }, context)
        async let second = tasks.shutdown(.with { $0.now = true }, context)
        _ = try await (first, second)
        #expect(await fakes.sandbox.state == .gone && ends.count.load(ordering: .relaxed) == 1)
    }

    @Test("refusals have the codes that containerd acts on")
    func codes() async throws {
        // Text for people, as with runc.
        #expect(await code { try await create("../x") } == .unknown)
        try await create("c1")
        #expect(await code { try await create("c1") } == .alreadyExists)
        #expect(await code { _ = try await tasks.start(.with { $0.id = "none" }, context) } == .notFound)
        _ = try await tasks.start(.with { $0.id = "c1" }, context)
        #expect(await code { _ = try await tasks.start(.with { $0.id = "c1" }, context) } == .failedPrecondition)
        #expect(await code { _ = try await tasks.delete(.with { $0.id = "c1" }, context) } == .failedPrecondition)
        await fakes.sandbox.stop()
    }

    @Test("the guest's refusals of a create, an exec and a start have its text, and no code before it")
    func words() async throws {
        func refused(_ method: String, _ code: RPCError.Code, _ call: () async throws -> Void) async {
            guest.refuse(method, RPCError(code, "exec: \"nope\": executable file not found in $PATH"))
            let error = await #expect(throws: RPCError.self) { try await call() }
            #expect(error == RPCError(.unknown, "exec: \"nope\": executable file not found in $PATH"))
            guest.accept(method)
        }
        for code in [RPCError.Code.internal, .invalidArgument, .notFound, .failedPrecondition, .alreadyExists] {
            await refused("CreateContainer", code) { try await create("c1") }
        }
        try await create("c1")
        await refused("StartContainer", .internal) { _ = try await tasks.start(.with { $0.id = "c1" }, context) }
        try await create("c2")
        _ = try await tasks.start(.with { $0.id = "c2" }, context)
        var exec = Containerd_Task_V2_ExecProcessRequest()
        (exec.id, exec.execID) = ("c2", "e1")
        #expect(await code { _ = try await tasks.exec(exec, context) } == .unknown)
        exec.spec.value = .init(try #require(Spec.example.process).json())
        _ = try await tasks.exec(exec, context)
        #expect(await code { _ = try await tasks.exec(exec, context) } == .alreadyExists)
        await refused("ExecProcess", .notFound) {
            _ = try await tasks.start(.with { ($0.id, $0.execID) = ("c2", "e1") }, context)
        }
        guest.refuse("PauseContainer", RPCError(.internal, "no"))
        #expect(await code { _ = try await tasks.pause(.with { $0.id = "c2" }, context) } == .unknown)
        await fakes.sandbox.stop()
    }

    @Test("a container whose annotations name a sandbox that no pod has made does not get into it")
    func foreign() async throws {
        try await create("c1")
        let stranger = try request("c2")
        var spec = Spec.example
        spec.annotations = ["io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "s1"]
        try Files.write(stranger.bundle + "/config.json", spec.json())
        #expect(await code { _ = try await tasks.create(stranger, context) } == .unknown)
        #expect(guest.specification("c2") == nil)
        await fakes.sandbox.stop()
    }

    @Test("a shutdown waits for the last container, unless its request says now")
    func shutdown() async throws {
        try await create("c1")
        _ = try await tasks.shutdown(.init(), context)
        #expect(await fakes.sandbox.state == .ready)
        _ = try await tasks.shutdown(.with { $0.now = true }, context)
        #expect(await fakes.sandbox.state == .gone)
    }
}
