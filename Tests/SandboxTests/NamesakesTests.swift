import Glibc
import LinuxKernel
import OCISpec
import Stdio
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

/// Late answers and events of a container must not touch the next container of the same name.
@Suite("Containers of one name", .timeLimit(.minutes(5)))
struct NamesakesTests {
    private func request(_ key: ContainerKey, _ fakes: FakeSandbox) throws -> ContainerRequest {
        var spec = Spec.example
        spec.process?.terminal = false
        let bundle = try fakes.bundle(key.id)
        return ContainerRequest(key, bundle: bundle, rootfs: .directory(bundle + "/rootfs"), spec: spec)
    }

    /// Two containers c1: the first has run and was deleted, the second is created.
    private func two() async throws -> (FakeSandbox, FakeGuest, first: ContainerKey, process: ContainerProcess) {
        let (fakes, guest) = try await FakeSandbox.ready()
        let first = try await fakes.create("c1")
        let process = try await fakes.sandbox.start(container: "c1").process
        guest.end("c1", status: 3)
        _ = try await fakes.sandbox.wait(container: "c1")
        _ = try await fakes.sandbox.delete(container: "c1")
        try await fakes.create("c1")
        return (fakes, guest, first, process)
    }

    private func expectUnharmed(_ fakes: FakeSandbox, _ guest: FakeGuest) async throws {
        #expect(kill(await fakes.sandbox.pid(of: "c1"), 0) == 0)
        #expect(try await fakes.sandbox.report(container: "c1").state == .created)
        #expect(guest.phase("c1") == .created && guest.signals == [])
        try await fakes.sandbox.start(container: "c1")
        await fakes.expectCleanStop()
    }

    @Test("a creation that a deletion has overtaken fails, and neither it nor its undo touches the next container")
    func overtaken() async throws {
        let guest = try FakeGuest()
        let fakes = try FakeSandbox(guest.agent)
        let sandbox = fakes.sandbox
        let first = try await sandbox.reserve("c1", bundle: fakes.bundle("c1"), streams: StreamPaths())
        try await sandbox.prepare(request(first, fakes))
        let wait = await fakes.wait("c1")
        // While the machine boots.
        #expect(try await sandbox.delete(container: "c1").status == 0)
        #expect(try await wait.value == 137)
        let second = try await sandbox.reserve("c1", bundle: fakes.bundle("c1"), streams: StreamPaths())
        try await sandbox.prepare(request(second, fakes))
        try await sandbox.boot()
        let error = await #expect(throws: SandboxError.self) { try await sandbox.create(first) }
        #expect(error?.kind == .notFound)
        await sandbox.release(first)
        #expect(try await sandbox.create(second) == sandbox.pid(of: "c1"))
        await sandbox.release(first)
        #expect(await !sandbox.discard(first))
        try await expectUnharmed(fakes, guest)
    }

    @Test("a late end of the first container does not end the second")
    func lateEnd() async throws {
        let (fakes, guest, first, process) = try await two()
        await fakes.sandbox.outOfMemory(process, of: first)
        await fakes.sandbox.ended(process, of: first, 0)
        #expect(process.ended?.status == 3)
        try await expectUnharmed(fakes, guest)
    }

    @Test("a late end of the first container's process on the host does not end the second")
    func lateHostProcess() async throws {
        let (fakes, guest, first, _) = try await two()
        #expect(await !fakes.sandbox.hostProcessEnded(first))
        #expect(await !fakes.sandbox.hasOnly(first))
        try await expectUnharmed(fakes, guest)
    }

    @Test("a manager that has not heard of the first container does not lose the second")
    func lateDiscard() async throws {
        let (fakes, guest, first, _) = try await two()
        #expect(await !fakes.sandbox.discard(first))
        try await expectUnharmed(fakes, guest)
    }

    @Test("a name is free when the last of its container is removed, and its hooks have run")
    func held() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        let gate = fakes.scratch.path + "/gate"
        try await fakes.create("c1") {
            $0.hooks = Hooks(poststop: [
                Hook(path: "/bin/sh", args: ["sh", "-c", "until [ -e \(gate) ]; do sleep 0.01; done"])
            ])
        }
        let deletion = Task { [sandbox = fakes.sandbox] in try await sandbox.delete(container: "c1") }
        try await eventually { await fakes.sandbox.isEmpty }
        let error = await #expect(throws: SandboxError.self) { try await fakes.create("c1") }
        #expect(error?.kind == .alreadyExists && error?.description.contains("still being removed") == true)
        try Files.write(gate, [])
        _ = try await deletion.value
        try await fakes.create("c1")
        await fakes.expectCleanStop()
    }
}
