import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Pod
import Stdio
import TTRPC
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

@Suite("The life of containers", .timeLimit(.minutes(5)))
struct ContainerLifeTests {
    @Test("create, start, exit, delete: the status is the guest's, and the name is free again")
    func whole() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        try await fakes.create("c1")
        #expect(try await sandbox.report(container: "c1").state == .created)
        try await sandbox.start(container: "c1")
        #expect(try await sandbox.report(container: "c1").state == .running)
        guest.end("c1", status: 7)
        #expect(try await sandbox.wait(container: "c1").status == 7)
        #expect(await sandbox.ended?.ids == ["c1"])
        #expect(try await sandbox.delete(container: "c1").status == 7)
        #expect(await sandbox.isEmpty)
        try await fakes.create("c1")
        await sandbox.stop()
    }

    @Test("two containers: one ends, the other lives; each has its own status")
    func two() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        for id in ["c1", "c2"] {
            try await fakes.create(id)
            try await fakes.sandbox.start(container: id)
        }
        guest.end("c1", status: 1)
        #expect(try await fakes.sandbox.wait(container: "c1").status == 1)
        #expect(try await fakes.sandbox.report(container: "c2").state == .running)
        _ = try await fakes.sandbox.delete(container: "c1")
        guest.end("c2", status: 2)
        #expect(try await fakes.sandbox.wait(container: "c2").status == 2)
        await fakes.sandbox.stop()
    }

    @Test("a name is used once at a time")
    func names() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        let error = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        }
        #expect(error?.kind == .alreadyExists)
        await fakes.sandbox.stop()
    }

    @Test("a step in the wrong state says which it is")
    func wrongStates() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        await #expect(throws: SandboxError.self) { try await sandbox.start(container: "none") }
        try await fakes.create("c1")
        await #expect(throws: SandboxError.self) { try await sandbox.resume(container: "c1") }
        try await sandbox.start(container: "c1")
        let again = await #expect(throws: SandboxError.self) { try await sandbox.start(container: "c1") }
        #expect(again?.description.contains("is running, not created") == true)
        await #expect(throws: SandboxError.self) { try await sandbox.delete(container: "c1") }
        try await sandbox.pause(container: "c1")
        await #expect(throws: SandboxError.self) { try await sandbox.pause(container: "c1") }
        try await sandbox.resume(container: "c1")
        await #expect(throws: SandboxError.self) { try await sandbox.resume(container: "c1") }
        guest.end("c1", status: 0)
        _ = try await sandbox.wait(container: "c1")
        let late = await #expect(throws: SandboxError.self) { try await sandbox.signal(SIGHUP, container: "c1") }
        #expect(late?.kind == .notFound)
        await sandbox.stop()
    }

    @Test("a created container runs further processes, and can be paused: then it can't be started")
    func beforeStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        let process = try #require(Spec.example.process)
        let key = try await sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        // The guest doesn't have it yet.
        await #expect(throws: SandboxError.self) {
            try await sandbox.addExec(container: "c1", exec: "e", process: process, streams: StreamPaths())
        }
        await sandbox.release(key)
        try await fakes.create("c1")
        try await sandbox.addExec(container: "c1", exec: "e", process: process, streams: StreamPaths())
        try await sandbox.start(container: "c1", exec: "e")
        #expect(guest.phase("e") == .running)
        try await sandbox.pause(container: "c1")
        let refusal = await #expect(throws: SandboxError.self) { try await sandbox.start(container: "c1") }
        #expect(refusal?.description.contains("is paused; resume it first") == true)
        try await sandbox.resume(container: "c1")
        try await sandbox.start(container: "c1")
        await sandbox.stop()
    }

    // MARK: Ends that the guest delays

    @Test("output that the guest keeps open after a container's end is closed; a slow reader gets its bytes first")
    func openOutput() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        var readers: [SharedDescriptor] = []
        for id in ["c1", "c2"] {
            let fifo = fakes.scratch.path + "/" + id
            #expect(mkfifo(fifo, 0o600) == 0)
            let key = try await sandbox.reserve(id, bundle: "/b", streams: StreamPaths(stdout: fifo))
            readers.append(SharedDescriptor(try FileDescriptor.open(fifo, O_RDONLY | O_NONBLOCK)))
            try await sandbox.create(
                ContainerRequest(
                    key, bundle: fakes.bundle(id), rootfs: .directory(fakes.bundle(id) + "/rootfs"), spec: Spec.example)
            )
        }
        let ports = fakes.channel.ports.suffix(2)
        guard let quick = fakes.channel.connect(ports.first ?? 0), let slow = fakes.channel.connect(ports.last ?? 0)
        else {
            Issue.record("the sandbox does not listen for output: \(ports)")
            return
        }
        try quick.writeAll(Array("a".utf8), to: "stream")
        let much = [UInt8](repeating: 7, count: 100_000)
        try slow.writeAll(much, to: "stream")
        for id in ["c1", "c2"] {
            try await sandbox.start(container: id)
            guest.end(id, status: 0)
            _ = try await sandbox.wait(container: id)
        }
        let limit = ContinuousClock.now + Deadline.closing.limit + .longWait
        #expect(try readers[0].descriptor.readAll("fifo", limit: 10, by: limit) == Array("a".utf8))
        #expect(try readers[1].descriptor.readAll("fifo", limit: 1 << 20, by: limit + .longWait) == much)
        await sandbox.stop()
    }

    @Test("a killed process whose end the guest does not report counts as killed")
    func unreportedEnd() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        guest.ignoreKills()
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(try await fakes.sandbox.report(container: "c1").state == .running)
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        _ = try await fakes.sandbox.delete(container: "c1")
        await fakes.sandbox.stop()
    }

    @Test("an agent that refuses a container: nothing of it is left, and the name is free")
    func refused() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        guest.refuse("CreateContainer", RPCError(.invalidArgument, "no such user"))
        let error = await #expect(throws: RPCError.self) { try await fakes.create("c1") }
        #expect(error?.message == "no such user")
        #expect(await fakes.sandbox.isEmpty && fakes.channel.ports.isEmpty)
        guest.accept("CreateContainer")
        try await fakes.create("c1")
        await fakes.sandbox.stop()
    }

    @Test("the agent's refusal names the host's paths, not the guest's")
    func translated() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let data = fakes.scratch.path + "/data"
        try Files.makeDirectory(data)
        guest.refuse(
            "CreateContainer",
            RPCError(.invalidArgument, "mount /run/kata-containers/shared/containers/.v1 on /data: no"))
        let error = await #expect(throws: RPCError.self) {
            try await fakes.create("c1") {
                $0.mounts = [Mount(destination: "/data", type: "bind", source: data, options: ["rbind"])]
            }
        }
        #expect(error?.message == "mount \(data) on /data: no")
        await fakes.sandbox.stop()
    }

    @Test("a refused start kills what there may be of the container; it ends like any other")
    func refusedStart() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        guest.refuse("StartContainer", RPCError(.unknown, "exec: no such file"))
        await #expect(throws: RPCError.self) { try await fakes.sandbox.start(container: "c1") }
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        _ = try await fakes.sandbox.delete(container: "c1")
        await fakes.sandbox.stop()
    }

    @Test("a container that is killed before its machine is there is never created")
    func killedEarly() async throws {
        let guest = try FakeGuest()
        let fakes = try FakeSandbox(guest.agent)
        let key = try await fakes.sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        try await fakes.sandbox.boot()
        let error = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.prepare(
                ContainerRequest(key, bundle: "/b", rootfs: .directory("/b"), spec: Spec.example))
        }
        #expect(error?.description == "container c1 was ended before it was created")
        #expect(!guest.calls.contains("CreateContainer"))
        await fakes.sandbox.stop()
    }

    @Test("a signal to a created container, a running one and one that waits: killed is killed")
    func kills() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.signal(SIGTERM, container: "c1")
        #expect(try await fakes.sandbox.wait(container: "c1").status == 128 + SIGTERM)
        try await fakes.create("c2")
        try await fakes.sandbox.start(container: "c2")
        async let end = fakes.sandbox.wait(container: "c2")
        try await fakes.sandbox.signal(SIGKILL, container: "c2")
        #expect(try await end.status == 137)
        #expect(guest.phase("c2") == .ended(137))
        await fakes.sandbox.stop()
    }

    @Test("an exec has its own id, status and end; the container's end is another")
    func execs() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        try await fakes.create("c1")
        try await sandbox.start(container: "c1")
        try await sandbox.addExec(
            container: "c1", exec: "e1", process: Spec.example.process!, streams: StreamPaths())
        let twice = await #expect(throws: SandboxError.self) {
            try await sandbox.addExec(
                container: "c1", exec: "e1", process: Spec.example.process!, streams: StreamPaths())
        }
        #expect(twice?.kind == .alreadyExists)
        try await sandbox.start(container: "c1", exec: "e1")
        guest.end("e1", status: 3)
        #expect(try await sandbox.wait(container: "c1", exec: "e1").status == 3)
        #expect(try await sandbox.delete(container: "c1", exec: "e1").status == 3)
        #expect(try await sandbox.report(container: "c1").state == .running)
        await #expect(throws: SandboxError.self) { try await sandbox.wait(container: "c1", exec: "e1") }
        await sandbox.stop()
    }

    @Test("concurrent calls about one container: one creation, one start, one deletion succeed")
    func concurrent() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        let sandbox = fakes.sandbox
        func succeeded(_ count: Int, _ body: @escaping @Sendable () async throws -> Void) async -> Int {
            await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<count { group.addTask { (try? await body()) != nil } }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
        }
        let key = OneShot<ContainerKey>()
        let reserved = await succeeded(8) {
            key.complete(try await sandbox.reserve("c1", bundle: "/b", streams: StreamPaths()))
        }
        #expect(reserved == 1)
        await sandbox.release(await key.wait())
        try await fakes.create("c1")
        #expect(await succeeded(8) { try await sandbox.start(container: "c1") } == 1)
        guest.end("c1", status: 0)
        _ = try await sandbox.wait(container: "c1")
        #expect(await succeeded(8) { _ = try await sandbox.delete(container: "c1") } >= 1)
        #expect(await sandbox.isEmpty)
        await sandbox.stop()
    }

    @Test("the machine grows for a container's limits, and the guest is notified; a refused growth ends the creation")
    func growth() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1", limited)
        let vm = fakes.hypervisor.machines[0]
        #expect(vm.size.memoryMiB == 2048 + 256 && guest.calls.contains("OnlineCPUMem"))
        vm.failAdditions(VMError("no slot"))
        let error = await #expect(throws: SandboxError.self) { try await fakes.create("c2", limited) }
        #expect(error?.description.contains("no slot") == true)
        #expect(vm.size.memoryMiB == 2048 + 256)
        await fakes.sandbox.stop()
    }

    private func limited(_ spec: inout Spec) {
        spec.linux?.resources = .init()
        spec.linux?.resources?.memory = .init()
        spec.linux?.resources?.memory?.limit = 256 << 20
    }

    @Test(
        "deletions don't wait for the machine to give memory back; it shrinks once for several, and not as a pod ends")
    func shrinksOnce() async throws {
        let (fakes, guest) = try await FakeSandbox.ready(pod: PodLimits())
        let (sandbox, vm) = (fakes.sandbox, fakes.hypervisor.machines[0])
        await sandbox.shrink(after: .seconds(3600))
        try await fakes.create("s1")
        for id in ["c1", "c2", "c3"] { try await fakes.create(id, limited) }
        #expect(vm.size.memoryMiB == 2048 + 768)
        let before = vm.resizes
        for id in ["c1", "c2"] { _ = try await sandbox.delete(container: id) }
        let isShrinking = await sandbox.isShrinking
        #expect(isShrinking && vm.resizes == before)
        await sandbox.shrinkNow()
        #expect(vm.resizes == before + 1 && vm.size.memoryMiB == 2048 + 256)
        // The pod's own container ends before the last other one is deleted.
        try await sandbox.start(container: "s1")
        guest.end("s1", status: 0)
        _ = try await sandbox.wait(container: "s1")
        _ = try await sandbox.delete(container: "c3")
        await sandbox.shrinkNow()
        #expect(vm.resizes == before + 1)
        await sandbox.stop()
    }

    @Test("the machine gives back the memory of a deleted container by itself")
    func shrinks() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        let vm = fakes.hypervisor.machines[0]
        await fakes.sandbox.shrink(after: .milliseconds(5))
        for id in ["c1", "c2"] { try await fakes.create(id, limited) }
        _ = try await fakes.sandbox.delete(container: "c2")
        try await eventually { vm.size.memoryMiB == 2048 + 256 }
        await fakes.sandbox.stop()
    }

    @Test("a path that two containers use is shared once, and removed with the second one")
    func sharedOnce() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        let data = fakes.scratch.path + "/data"
        try Files.makeDirectory(data)
        for id in ["c1", "c2"] {
            try await fakes.create(id) {
                $0.mounts = [Mount(destination: "/data", type: "bind", source: data, options: ["bind"])]
            }
        }
        #expect(fakes.share.attached.filter { Files.name(of: $0).hasPrefix(".v") }.count == 1)
        await fakes.sandbox.stop()
    }
}

extension Sandbox {
    fileprivate func shrink(after pause: Duration) { shrinkPause = pause }
}
