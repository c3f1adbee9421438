import Glibc
import LinuxKernel
import OCISpec
import Stdio
import Streams
import TTRPC
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

/// Calls that meet others about the same container or sandbox, in the orders that matter.
@Suite("Calls that meet", .timeLimit(.minutes(5)))
struct ConcurrentCallsTests {
    private func phase(_ fakes: FakeSandbox, _ container: String = "c1", _ exec: String = "") async throws
        -> ContainerProcess.State
    { try await fakes.sandbox.report(container: container, exec: exec).state }

    /// Begins a call on the sandbox's loop, and lets it come as far as it can.
    private func call<Answer: Sendable>(
        _ fakes: FakeSandbox, _ body: @escaping @Sendable (Sandbox) async throws -> Answer
    ) async -> Task<Answer, any Error> {
        let call = Task(executorPreference: fakes.sandbox.executor) { [sandbox = fakes.sandbox] in
            try await body(sandbox)
        }
        await fakes.turns()
        return call
    }

    private func addExec(_ fakes: FakeSandbox, streams: StreamPaths = StreamPaths()) async throws {
        try await fakes.sandbox.addExec(
            container: "c1", exec: "e1", process: Spec.example.process!, streams: streams)
    }

    // MARK: During a creation

    @Test("a container that is killed while it is created has ended at once; it can't be started, only deleted")
    func killDuringCreate() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        guest.withhold("CreateContainer")
        // The guest doesn't know the container before its creation has ended.
        guest.refuse("SignalProcess", RPCError(.notFound, "no such container"))
        let creation = try await fakes.begin("CreateContainer", of: guest) { _ in try await fakes.create("c1") }
        let wait = await fakes.wait("c1")
        #expect(try await phase(fakes) == .created)
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(try await wait.value == 137)
        #expect(try await phase(fakes) == .stopped)
        guest.deliver("CreateContainer")
        _ = try await creation.value
        let start = await #expect(throws: SandboxError.self) { try await fakes.sandbox.start(container: "c1") }
        #expect(start?.description.contains("is stopped, not created") == true)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        #expect(guest.phase("c1") == nil)
        #expect(await fakes.sandbox.isEmpty)
        await fakes.expectCleanStop()
    }

    @Test("a deletion waits for the end of a creation, also one that fails; then nothing waits for the container")
    func deleteDuringCreate() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let before = LedgerFile(fakes.ledger).left
        for isRefused in [false, true] {
            guest.ignore("CreateContainer")
            let creation = try await fakes.begin("CreateContainer", of: guest) { _ in try await fakes.create("c1") }
            let wait = await fakes.wait("c1")
            let removals = guest.calls.count { $0 == "RemoveContainer" }
            let deletion = await call(fakes) { try await $0.delete(container: "c1") }
            #expect(guest.calls.count { $0 == "RemoveContainer" } == removals)
            #expect(try await phase(fakes) == .created)
            if isRefused { guest.refuseLate("CreateContainer") } else { guest.answerLate("CreateContainer") }
            // The caller of a creation that fails may have released the name first.
            do { _ = try await deletion.value } catch let error as SandboxError {
                #expect(isRefused && error.kind == .notFound)
            }
            let hasFailed = (try? await creation.value) == nil
            #expect(hasFailed == isRefused)
            #expect(try await wait.value == 137)
            #expect(guest.phase("c1") == nil && LedgerFile(fakes.ledger).left == before)
            #expect(await fakes.sandbox.isEmpty)
        }
        await fakes.expectCleanStop()
    }

    @Test("a stop while one container is created and another runs: each call and wait ends, and nothing is left")
    func stopDuringCreate() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        guest.ignore("CreateContainer")
        let creation = try await fakes.begin("CreateContainer", of: guest) { _ in try await fakes.create("c2") }
        try await fakes.sandbox.reserve("c3", bundle: "/b", streams: StreamPaths())
        var waits: [Task<Int32, any Error>] = []
        for id in ["c1", "c2", "c3"] { waits.append(await fakes.wait(id)) }
        guest.ignore("DestroySandbox")
        let stop = try await fakes.begin("DestroySandbox", of: guest) { await $0.stop() }
        #expect(await fakes.sandbox.state == .stopping)
        #expect(try await phase(fakes) == .running)
        #expect(try await phase(fakes, "c2") == .created)
        let start = await #expect(throws: SandboxError.self) { try await fakes.sandbox.start(container: "c3") }
        #expect(start?.description == "sandbox s1 is stopping, not ready")
        guest.answerLate("DestroySandbox")
        try await stop.value
        let error = await #expect(throws: SandboxError.self) { try await creation.value }
        #expect(error?.description.hasPrefix("create container c2: ") == true, "\(error?.description ?? "")")
        for wait in waits { #expect(try await wait.value == 137) }
        #expect(await fakes.sandbox.state == .gone)
        #expect(fakes.hypervisor.machines[0].stops == [.zero])
        await fakes.expectNothingLeft()
    }

    // MARK: During a start

    @Test("a container that is killed while it starts ends with the guest's status, and can be deleted")
    func killDuringStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        guest.withhold("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        try await eventually { guest.phase("c1") == .running }
        #expect(try await phase(fakes) == .starting)
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(guest.phase("c1") == .ended(137))
        guest.deliver("StartContainer")
        _ = try await start.value
        #expect(try await wait.value == 137)
        #expect(try await phase(fakes) == .stopped)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        await fakes.expectCleanStop()
    }

    @Test("a container that is killed before its program starts: the start fails, and it has ended")
    func killBeforeProgram() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        guest.ignore("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        guest.answerLate("StartContainer")
        let error = await #expect(throws: RPCError.self) { try await start.value }
        #expect(error?.code == .failedPrecondition)
        #expect(try await wait.value == 137)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        await fakes.expectCleanStop()
    }

    @Test("a program that survives SIGTERM while it starts runs on")
    func terminateDuringStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        guest.withhold("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        try await fakes.sandbox.signal(SIGTERM, container: "c1")
        #expect(guest.signals == [UInt32(SIGTERM)])
        guest.deliver("StartContainer")
        _ = try await start.value
        #expect(try await phase(fakes) == .running)
        guest.end("c1", status: 4)
        #expect(try await wait.value == 4)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 4)
        await fakes.expectCleanStop()
    }

    @Test("a container that starts can be neither started again nor deleted, which does it no harm")
    func twoStarts() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        guest.withhold("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        let again = await #expect(throws: SandboxError.self) { try await fakes.sandbox.start(container: "c1") }
        #expect(again?.description.contains("is starting, not created") == true)
        let deletion = await #expect(throws: SandboxError.self) { try await fakes.sandbox.delete(container: "c1") }
        #expect(deletion?.description.contains("is starting; stop it first") == true)
        guest.deliver("StartContainer")
        _ = try await start.value
        #expect(guest.signals == [] && guest.phase("c1") == .running)
        #expect(try await phase(fakes) == .running)
        await fakes.expectCleanStop()
    }

    @Test("a refused start of an exec can be repeated; one of a container has ended the container")
    func startAgain() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await addExec(fakes)
        for method in ["StartContainer", "ExecProcess"] { guest.refuse(method) }
        await #expect(throws: RPCError.self) { try await fakes.sandbox.start(container: "c1", exec: "e1") }
        #expect(try await phase(fakes, "c1", "e1") == .created)
        guest.accept("ExecProcess")
        try await fakes.sandbox.start(container: "c1", exec: "e1")
        #expect(try await phase(fakes, "c1", "e1") == .running)
        await #expect(throws: RPCError.self) { try await fakes.sandbox.start(container: "c1") }
        #expect(try await phase(fakes) == .stopped)
        await fakes.expectCleanStop()
    }

    @Test("a stop while a container starts ends the start and the wait, and leaves nothing")
    func stopDuringStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        guest.ignore("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        await fakes.expectCleanStop()
        let error = await #expect(throws: SandboxError.self) { try await start.value }
        #expect(error?.description.hasPrefix("start container c1: ") == true, "\(error?.description ?? "")")
        #expect(try await wait.value == 137)
    }

    // MARK: Waits

    @Test("waits that begin before the creation, before the start and after it end together, with the guest's status")
    func earlyWaits() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        guest.withhold("CreateContainer")
        let creation = try await fakes.begin("CreateContainer", of: guest) { _ in try await fakes.create("c1") }
        var waits = [await fakes.wait("c1")]
        guest.deliver("CreateContainer")
        _ = try await creation.value
        waits.append(await fakes.wait("c1"))
        try await fakes.sandbox.start(container: "c1")
        waits.append(await fakes.wait("c1"))
        guest.end("c1", status: 9)
        waits.append(await fakes.wait("c1"))
        for wait in waits { #expect(try await wait.value == 9) }
        await fakes.expectCleanStop()
    }

    @Test("waits for processes that are never started end when those are deleted, or their container is")
    func neverStarted() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await addExec(fakes)
        let first = await fakes.wait("c1", "e1")
        #expect(try await fakes.sandbox.delete(container: "c1", exec: "e1").status == 0)
        #expect(try await first.value == 137)
        try await addExec(fakes)
        let waits = [await fakes.wait("c1"), await fakes.wait("c1", "e1")]
        #expect(try await fakes.sandbox.delete(container: "c1").status == 0)
        for wait in waits { #expect(try await wait.value == 137) }
        await fakes.expectCleanStop()
    }

    // MARK: Deletions

    @Test("of two deletions at once the guest gets one, and neither returns before the guest is done")
    func twoDeletions() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let before = LedgerFile(fakes.ledger).left
        try await fakes.create("c1")
        let pid = await fakes.sandbox.pid(of: "c1")
        try await fakes.sandbox.start(container: "c1")
        guest.end("c1", status: 3)
        _ = try await fakes.sandbox.wait(container: "c1")
        guest.ignore("RemoveContainer")
        let first = try await fakes.begin("RemoveContainer", of: guest) { try await $0.delete(container: "c1") }
        // The guest would refuse a second removal at once.
        guest.refuse("RemoveContainer")
        let shared = LedgerFile(fakes.ledger).left
        let second = await call(fakes) { try await $0.delete(container: "c1") }
        #expect(guest.calls.count { $0 == "RemoveContainer" } == 1)
        #expect(try await phase(fakes) == .stopped)
        #expect(LedgerFile(fakes.ledger).left == shared && shared.count > before.count)
        let reservation = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        }
        #expect(reservation?.kind == .alreadyExists)
        guest.answerLate("RemoveContainer")
        #expect(try await first.value.status == 3)
        #expect(try await second.value.status == 3)
        #expect(guest.calls.count { $0 == "RemoveContainer" } == 1)
        #expect(await fakes.sandbox.isEmpty && kill(pid, 0) != 0)
        #expect(LedgerFile(fakes.ledger).left == before)
        let late = await #expect(throws: SandboxError.self) { try await fakes.sandbox.delete(container: "c1") }
        #expect(late?.kind == .notFound)
        await fakes.expectCleanStop()
    }

    // MARK: Execs and the end of their container

    @Test("an exec that the guest refuses as its container ends: its streams are closed, and deletion ends its wait")
    func execRefusedAtEnd() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let output = try Fifo()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        try await addExec(fakes, streams: StreamPaths(stdout: output.path))
        let wait = await fakes.wait("c1", "e1")
        guest.ignore("ExecProcess")
        let exec = try await fakes.begin("ExecProcess", of: guest) {
            try await $0.start(container: "c1", exec: "e1")
        }
        guest.end("c1", status: 5)
        #expect(try await fakes.sandbox.wait(container: "c1").status == 5)
        #expect(try await phase(fakes) == .stopped)
        #expect(try await phase(fakes, "c1", "e1") == .starting)
        let late = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.addExec(
                container: "c1", exec: "e2", process: Spec.example.process!, streams: StreamPaths())
        }
        #expect(late?.description.contains("is stopped, not running") == true)
        guest.refuseLate("ExecProcess", RPCError(.notFound, "no such container"))
        let error = await #expect(throws: RPCError.self) { try await exec.value }
        #expect(error?.code == .notFound)
        try output.expectEnd()
        #expect(fakes.channel.ports == [])
        #expect(try await fakes.sandbox.delete(container: "c1").status == 5)
        #expect(try await wait.value == 137)
        await fakes.expectCleanStop()
    }

    @Test("streams that the guest has opened for an exec that does not start are closed")
    func streamsOfFailedStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        let terminal = try PseudoTerminal()
        let path = try terminal.path
        let master = SharedDescriptor(terminal.keepingMaster())
        try await addExec(fakes, streams: StreamPaths(stdin: path, stdout: path, terminal: true))
        guest.ignore("ExecProcess")
        let exec = try await fakes.begin("ExecProcess", of: guest) {
            try await $0.start(container: "c1", exec: "e1")
        }
        // The guest keeps its ends.
        let ends = fakes.channel.ports.map { SharedDescriptor(fakes.channel.connect($0)!) }
        #expect(ends.count == 2 && !isHungUp(master))
        guest.refuseLate("ExecProcess", RPCError(.notFound, "no such interpreter"))
        _ = await #expect(throws: RPCError.self) { try await exec.value }
        try await eventually { isHungUp(master) }
        _ = try await fakes.sandbox.delete(container: "c1", exec: "e1")
        await fakes.expectCleanStop()
    }

    /// Whether no process has a terminal's other end open.
    private func isHungUp(_ master: SharedDescriptor) -> Bool {
        var wanted = pollfd(fd: master.descriptor.raw, events: 0, revents: 0)
        return poll(&wanted, 1, 0) == 1 && wanted.revents & Int16(POLLHUP) != 0
    }

    @Test("a stream that the guest opens as its process fails to start is closed; one of a later attempt is not")
    func lateStream() async throws {
        let relay = try StreamRelay()
        let process = ContainerProcess(id: "e1", streams: StreamPaths(), specification: nil)
        var writers: [SharedDescriptor] = []
        func connect() throws -> StreamRelay.Handle {
            let pipe = try Pipe()
            writers.append(SharedDescriptor(try pipe.writeEnd.duplicate()))
            let handle = relay.connect(from: pipe.keepingReadEnd(), to: try .open("/dev/null", O_WRONLY))
            process.connected(input: handle, relay)
            return handle
        }
        process.closeStreams(relay)
        let late = try connect()
        try await eventually { late.hasEnded }
        process.expectStreams()
        let second = try connect()
        try await Task.sleep(for: .milliseconds(20))
        #expect(!second.hasEnded)
        process.closeStreams(relay)
        try await eventually { second.hasEnded }
        relay.stop()
    }

    @Test("an exec that still begins as its container ends has its own status, before and after the deletion")
    func execBeginsAtEnd() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        try await addExec(fakes)
        let wait = await fakes.wait("c1", "e1")
        guest.withhold("ExecProcess")
        let exec = try await fakes.begin("ExecProcess", of: guest) {
            try await $0.start(container: "c1", exec: "e1")
        }
        guest.end("c1", status: 5)
        _ = try await fakes.sandbox.wait(container: "c1")
        guest.deliver("ExecProcess")
        _ = try await exec.value
        #expect(try await phase(fakes, "c1", "e1") == .running)
        let running = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.delete(container: "c1", exec: "e1")
        }
        #expect(running?.description.contains("is running; stop it first") == true)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 5)
        guest.end("e1", status: 6)
        #expect(try await wait.value == 6)
        await fakes.expectCleanStop()
    }

    @Test("an exec whose container is deleted while it begins counts as killed")
    func deleteDuringExec() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        try await addExec(fakes)
        let wait = await fakes.wait("c1", "e1")
        guest.ignore("ExecProcess")
        let exec = try await fakes.begin("ExecProcess", of: guest) {
            try await $0.start(container: "c1", exec: "e1")
        }
        guest.end("c1", status: 5)
        _ = try await fakes.sandbox.wait(container: "c1")
        #expect(try await fakes.sandbox.delete(container: "c1").status == 5)
        #expect(try await wait.value == 137)
        guest.refuseLate("ExecProcess")
        await #expect(throws: RPCError.self) { try await exec.value }
        #expect(await fakes.sandbox.isEmpty && fakes.channel.ports == [])
        await fakes.expectCleanStop()
    }
}
