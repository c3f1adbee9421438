import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Stdio
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

/// The containers that have ended, in order.
private final class Ended: Sendable {
    let ids = Mutex<[String]>([])
}

/// The loss of the machine, its file server or its agent, at each step of a sandbox's life.
@Suite("Losses", .timeLimit(.minutes(5)))
struct LossTests {
    // MARK: Boot

    @Test(
        "a part that is lost while the guest is set up ends the boot, which names it and leaves nothing",
        arguments: Loss.allCases)
    func setUp(_ loss: Loss) async throws {
        let (guest, groups) = (try FakeGuest(), try FakeCgroups())
        guest.ignore("CreateSandbox")
        let fakes = try FakeSandbox(guest.agent, cgroups: groups)
        let boot = try await fakes.begin("CreateSandbox", of: guest) { try await $0.boot() }
        loss.happen(to: fakes, guest)
        let error = await #expect(throws: SandboxError.self) { try await boot.value }
        // Nothing but the end of the agent's connection is known where the machine goes on.
        let cause = loss == .agent ? "connection closed" : loss.cause
        #expect(error?.description.contains("did not come up: ") == true && error?.kind == .guest)
        #expect(error?.description.contains(cause) == true, "\(error?.description ?? "")")
        #expect(await fakes.sandbox.state == .gone)
        await fakes.expectNothingLeft()
        // The guest has its files until it has ended, and this process has left the sandbox's cgroup.
        #expect(fakes.leftAtEnd.map(\.kind) == ["controlGroup", "controlGroup", "directory", "mount"])
        #expect(LedgerFile(fakes.ledger).undone == fakes.leftAtEnd.reversed())
        #expect(groups.text("memory/kata_overhead/cgroup.procs") == "\(getpid())")
    }

    @Test("a file server that ends while the machine starts ends the boot, also where the hypervisor has not noticed")
    func serverBeforeMachine() async throws {
        let fakes = try FakeSandbox(toml: "[agent.kata]\ndial_timeout = 1\n")
        fakes.hypervisor.before { [share = fakes.share, lines = fakes.lines] _, _ in
            share.servers[0].end(.exited(1))
            try await eventually { lines.all.contains { $0.hasPrefix("the guest has lost its files") } }
        }
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains(Loss.fileServer.cause) == true, "\(error?.description ?? "")")
        #expect(fakes.hypervisor.machines.count == 1)
        await fakes.expectNothingLeft()
    }

    @Test("a hypervisor that can't start for lack of its file server: the error names both")
    func serverAndHypervisor() async throws {
        let fakes = try FakeSandbox()
        fakes.hypervisor.before { [share = fakes.share, lines = fakes.lines] _, _ in
            share.servers[0].end(.exited(1))
            try await eventually { lines.all.contains { $0.hasPrefix("the guest has lost its files") } }
            throw VMError("connect to the share: connection refused")
        }
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        let text = error?.description ?? ""
        #expect(text.contains(Loss.fileServer.cause) && text.contains("connection refused"), "\(text)")
        await fakes.expectNothingLeft()
    }

    @Test("a stop ends the boot of a guest whose agent never answers its configuration")
    func stopInSetUp() async throws {
        let guest = try FakeGuest()
        guest.ignore("CreateSandbox")
        let fakes = try FakeSandbox(guest.agent)
        let boot = try await fakes.begin("CreateSandbox", of: guest) { try await $0.boot() }
        await fakes.expectCleanStop()
        await #expect(throws: SandboxError.self) { try await boot.value }
        #expect(await fakes.sandbox.state == .gone)
    }

    // MARK: Create

    /// Begins the creation of c1, with a volume and an output, which the guest doesn't answer.
    private func beginCreation(
        _ fakes: FakeSandbox, _ guest: FakeGuest
    ) async throws -> (Task<Void, any Error>, Fifo) {
        let output = try Fifo()
        let (bundle, data) = (try fakes.bundle("c1"), fakes.scratch.path + "/data")
        try Files.makeDirectory(data)
        var spec = Spec.example
        spec.process?.terminal = false
        spec.mounts = [Mount(destination: "/data", type: "bind", source: data, options: ["rbind"])]
        let key = try await fakes.sandbox.reserve("c1", bundle: bundle, streams: StreamPaths(stdout: output.path))
        let request = ContainerRequest(key, bundle: bundle, rootfs: .directory(bundle + "/rootfs"), spec: spec)
        guest.ignore("CreateContainer")
        let creation = try await fakes.begin("CreateContainer", of: guest) { sandbox in
            do {
                try await sandbox.create(request)
            } catch {
                await sandbox.release(key)
                throw error
            }
        }
        return (creation, output)
    }

    @Test(
        "a part that is lost while a container is created: the error names it, waits end, and nothing is left of it",
        arguments: Loss.allCases)
    func create(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let before = LedgerFile(fakes.ledger).left
        let (creation, output) = try await beginCreation(fakes, guest)
        #expect(LedgerFile(fakes.ledger).left.count > before.count + 3)
        let (wait, pid) = (await fakes.wait("c1"), await fakes.sandbox.pid(of: "c1"))
        loss.happen(to: fakes, guest)
        let error = await #expect(throws: SandboxError.self) { try await creation.value }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("create container c1: ") && text.contains(loss.cause), "\(text)")
        #expect(try await wait.value == 137)
        #expect(await fakes.sandbox.isEmpty && kill(pid, 0) != 0)
        #expect(LedgerFile(fakes.ledger).left == before && fakes.channel.ports == [])
        try output.expectEnd()
        await fakes.expectCleanStop()
    }

    @Test("an agent that does not answer a creation: it fails in time, and all of it is undone")
    func silentCreation() async throws {
        let (fakes, guest) = try await FakeSandbox.ready(toml: "[runtime]\ncreate_container_timeout = 1\n")
        let before = LedgerFile(fakes.ledger).left
        let (creation, output) = try await beginCreation(fakes, guest)
        let made = LedgerFile(fakes.ledger).left.dropFirst(before.count)
        let wait = await fakes.wait("c1")
        let error = await #expect(throws: RPCError.self) { try await creation.value }
        #expect(error?.code == .deadlineExceeded)
        #expect(try await wait.value == 137)
        #expect(LedgerFile(fakes.ledger).left == before && fakes.channel.ports == [])
        // Its shares are removed before its process on the host, and a mount before the directory that holds it.
        let undone = LedgerFile(fakes.ledger).undone
        #expect(Set(undone) == Set(made) && undone.last?.kind == "process")
        let mount = try #require(undone.firstIndex { $0.name.hasSuffix("/mounts/c1/rootfs") })
        let directory = try #require(undone.firstIndex { $0.name.hasSuffix("/mounts/c1") })
        #expect(mount < directory)
        try output.expectEnd()
        await fakes.expectCleanStop()
    }

    // MARK: Start and exec

    @Test(
        "a part that is lost while a container starts: the error names it, and the container has ended like any other",
        arguments: Loss.allCases)
    func start(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let (wait, pid) = (await fakes.wait("c1"), await fakes.sandbox.pid(of: "c1"))
        guest.ignore("StartContainer")
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        loss.happen(to: fakes, guest)
        let error = await #expect(throws: SandboxError.self) { try await start.value }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("start container c1: ") && text.contains(loss.cause), "\(text)")
        #expect(try await wait.value == 137)
        #expect(try await fakes.sandbox.report(container: "c1").state == .stopped)
        #expect(kill(pid, 0) != 0)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        #expect(await fakes.sandbox.isEmpty)
        await fakes.expectCleanStop()
    }

    @Test("an agent that answers neither a start nor SIGKILL loses its machine, and both calls end")
    func silentStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        for method in ["StartContainer", "SignalProcess"] { guest.ignore(method) }
        let start = try await fakes.begin("StartContainer", of: guest) { try await $0.start(container: "c1") }
        fakes.hypervisor.machines[0].halt()
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(fakes.hypervisor.machines[0].exit == .signalled(SIGKILL))
        let error = await #expect(throws: SandboxError.self) { try await start.value }
        #expect(error?.description.contains("was stopped by a signal") == true, "\(error?.description ?? "")")
        #expect(try await wait.value == 137)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        await fakes.expectCleanStop()
    }

    @Test(
        "a part that is lost during an exec: the error names it, all processes have ended, and its streams are closed",
        arguments: Loss.allCases)
    func exec(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        let output = try Fifo()
        try await fakes.sandbox.addExec(
            container: "c1", exec: "e1", process: Spec.example.process!, streams: StreamPaths(stdout: output.path))
        let waits = [await fakes.wait("c1"), await fakes.wait("c1", "e1")]
        guest.ignore("ExecProcess")
        let exec = try await fakes.begin("ExecProcess", of: guest) {
            try await $0.start(container: "c1", exec: "e1")
        }
        loss.happen(to: fakes, guest)
        let error = await #expect(throws: SandboxError.self) { try await exec.value }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("start process e1 of container c1: ") && text.contains(loss.cause), "\(text)")
        for wait in waits { #expect(try await wait.value == 137) }
        try output.expectEnd()
        #expect(fakes.channel.ports == [])
        #expect(try await fakes.sandbox.delete(container: "c1", exec: "e1").status == 137)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        await fakes.expectCleanStop()
    }

    // MARK: While containers run

    @Test(
        "a part that is lost while containers run: each wait ends, deletion works, and a later call names the cause",
        arguments: Loss.allCases)
    func running(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        for id in ["c1", "c2"] { try await fakes.create(id) }
        for exec in ["e1", "e2"] {
            try await sandbox.addExec(
                container: "c1", exec: exec, process: Spec.example.process!, streams: StreamPaths())
        }
        // c2 and e2 are not started.
        try await sandbox.start(container: "c1")
        try await sandbox.start(container: "c1", exec: "e1")
        var waits: [Task<Int32, any Error>] = []
        for (container, exec) in [("c1", ""), ("c1", "e1"), ("c1", "e2"), ("c2", "")] {
            waits.append(await fakes.wait(container, exec))
        }
        loss.happen(to: fakes, guest)
        for wait in waits { #expect(try await wait.value == 137) }
        let error = await #expect(throws: SandboxError.self) { try await fakes.create("c3") }
        #expect(error?.description.contains(loss.cause) == true, "\(error?.description ?? "")")
        for id in ["c1", "c2"] { #expect(try await sandbox.delete(container: id).status == 137) }
        #expect(await sandbox.isEmpty)
        await fakes.expectCleanStop()
        // The file server goes with the machine; the records are undone from the last to the first.
        #expect(LedgerFile(fakes.ledger).undone.suffix(2).map(\.kind) == ["mount", "directory"])
    }

    @Test("a pod's own container ends after the others, whose output may take a while: its manager ends the shim then")
    func order() async throws {
        for slow in [false, true] {
            let (fakes, guest) = try await FakeSandbox.ready()
            let fifo = fakes.scratch.path + "/out"
            #expect(mkfifo(fifo, 0o600) == 0)
            let reader = SharedDescriptor(try FileDescriptor.open(fifo, O_RDONLY | O_NONBLOCK))
            for id in ["s1", "c1", "c2", "c3"] {
                if id == "c2", slow {
                    let key = try await fakes.sandbox.reserve(
                        id, bundle: fakes.bundle(id), streams: StreamPaths(stdout: fifo))
                    try await fakes.sandbox.create(
                        ContainerRequest(
                            key, bundle: fakes.bundle(id), rootfs: .directory(fakes.bundle(id) + "/rootfs"),
                            spec: Spec.example))
                } else {
                    try await fakes.create(id)
                }
                try await fakes.sandbox.start(container: id)
            }
            let ended = Ended()
            let waits = ["s1", "c1", "c2", "c3"].map { id in
                Task(executorPreference: fakes.sandbox.executor) { [sandbox = fakes.sandbox] in
                    _ = try await sandbox.wait(container: id)
                    ended.ids.withLock { $0.append(id) }
                }
            }
            await fakes.turns()
            // The connection ends first, as with a hypervisor that is killed.
            guest.agent.hangUp()
            Loss.machine.happen(to: fakes, guest)
            for wait in waits { try await wait.value }
            let order = ended.ids.withLock { $0 }
            #expect(order.count == 4 && order.last == "s1", "\(order)")
            _ = consume reader
            await fakes.expectCleanStop()
        }
    }

    @Test("a part that is lost during a deletion: the container is removed on the host", arguments: Loss.allCases)
    func deletion(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let before = LedgerFile(fakes.ledger).left
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        guest.end("c1", status: 3)
        _ = try await fakes.sandbox.wait(container: "c1")
        guest.ignore("RemoveContainer")
        let deletion = try await fakes.begin("RemoveContainer", of: guest) { try await $0.delete(container: "c1") }
        #expect(try await fakes.sandbox.report(container: "c1").state == .stopped)
        loss.happen(to: fakes, guest)
        #expect(try await deletion.value.status == 3)
        #expect(await fakes.sandbox.isEmpty)
        #expect(LedgerFile(fakes.ledger).left == before)
        await fakes.expectCleanStop()
    }

    @Test("a guest that is lost during a stop does not hold it up", arguments: [Loss.machine, .agent])
    func stop(_ loss: Loss) async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let wait = await fakes.wait("c1")
        guest.ignore("DestroySandbox")
        let stop = try await fakes.begin("DestroySandbox", of: guest) { await $0.stop() }
        loss.happen(to: fakes, guest)
        try await stop.value
        #expect(try await wait.value == 137)
        #expect(await fakes.sandbox.state == .gone)
        await fakes.expectNothingLeft()
    }
}
