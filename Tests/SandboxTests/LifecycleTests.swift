import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Stdio
import TTRPC
import TestSupport
import Testing

@testable import Sandbox

/// The sandbox's life on fakes: each step, each loss, each order.
@Suite("The life of a sandbox", .timeLimit(.minutes(5)))
struct LifecycleTests {
    // MARK: Boot

    @Test("a boot starts the file server and the machine, configures the guest, and is ready")
    func boot() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        #expect(await fakes.sandbox.state == .ready)
        #expect(fakes.share.servers.count == 1 && fakes.hypervisor.machines.count == 1)
        #expect(guest.calls.contains("CreateSandbox") && !guest.calls.contains("ReseedRandomDev"))
        #expect(fakes.lines.all.contains { $0.hasPrefix("the guest is up") })
        await fakes.sandbox.stop()
    }

    @Test("a sandbox boots once")
    func twice() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description == "sandbox s1 is ready, not empty")
        #expect(await fakes.sandbox.state == .ready)
        await fakes.sandbox.stop()
    }

    @Test("a hypervisor that does not start ends the sandbox, with its reason")
    func noHypervisor() async throws {
        let fakes = try FakeSandbox(try FakeGuest().agent)
        fakes.hypervisor.failStarts(VMError("out of luck"))
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("out of luck") == true)
        #expect(await fakes.sandbox.state == .gone)
        #expect(fakes.share.servers.allSatisfy(\.hasEnded) && fakes.channel.isClosed)
    }

    @Test("a file server that does not start ends the sandbox before there is a machine")
    func noFileServer() async throws {
        let fakes = try FakeSandbox(try FakeGuest().agent)
        fakes.share.failStarts(SystemError("run", "/usr/bin/fake-fs", errno: ENOENT))
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("/usr/bin/fake-fs") == true)
        #expect(fakes.hypervisor.machines.isEmpty && fakes.channel.isClosed)
        #expect(await fakes.sandbox.state == .gone)
    }

    @Test("a guest that never announces itself: the error names the wait, the console and what to do")
    func silentGuest() async throws {
        let fakes = try FakeSandbox(toml: "[agent.kata]\ndial_timeout = 1\n")
        let boot = Task { try await fakes.sandbox.boot() }
        try await eventually { fakes.channel.isDialled }
        fakes.hypervisor.machines.first?.write(console: ["Kernel panic - not syncing: No working init found."])
        let error = await #expect(throws: SandboxError.self) { try await boot.value }
        #expect(error?.description.contains("did not answer on vsock port 1024 in time") == true)
        #expect(error?.description.contains("No working init found") == true)
        #expect(fakes.hypervisor.machines.allSatisfy { $0.exit != nil })
    }

    @Test("a machine that ends while its guest boots ends the wait at once, with the hypervisor's words")
    func endsInBoot() async throws {
        let fakes = try FakeSandbox()
        let boot = Task { try await fakes.sandbox.boot() }
        try await eventually { fakes.channel.isDialled }
        let machine = try #require(fakes.hypervisor.machines.first)
        machine.write(stderr: ["no memory"])
        machine.end(.exited(1))
        let error = await #expect(throws: SandboxError.self) { try await boot.value }
        let text = error?.description ?? ""
        #expect(text.contains("the virtual machine ended: FakeVM exited with status 1"), "\(text)")
        #expect(text.contains("give it memory") && text.contains("FakeVM said: no memory"), "\(text)")
        #expect(await fakes.sandbox.state == .gone)
    }

    @Test(
        "an agent that refuses its configuration ends the sandbox, whichever call it is",
        arguments: ["CreateSandbox"])
    func refusedSetup(_ method: String) async throws {
        let guest = try FakeGuest()
        guest.refuse(method, RPCError(.unknown, "not today"))
        let fakes = try FakeSandbox(guest.agent)
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("not today") == true)
        #expect(await fakes.sandbox.state == .gone && fakes.hypervisor.machines.allSatisfy { $0.exit != nil })
    }

    @Test("what a guest may lack does not end its boot", arguments: ["SetGuestDateTime", "GetGuestDetails"])
    func optionalSetup(_ method: String) async throws {
        let guest = try FakeGuest()
        guest.refuse(method)
        let fakes = try FakeSandbox(guest.agent)
        try await fakes.sandbox.boot()
        #expect(await fakes.sandbox.state == .ready)
        await fakes.sandbox.stop()
    }

    @Test("a stop while the guest boots ends boot and machine; a part that arrives later is ended too")
    func stopInBoot() async throws {
        let fakes = try FakeSandbox()
        let boot = Task { try await fakes.sandbox.boot() }
        try await eventually { fakes.channel.isDialled }
        await fakes.sandbox.stop()
        await #expect(throws: SandboxError.self) { try await boot.value }
        #expect(await fakes.sandbox.state == .gone)
        #expect(fakes.hypervisor.machines.allSatisfy { $0.exit != nil } && fakes.share.servers.allSatisfy(\.hasEnded))
    }

    // MARK: Loss

    @Test("the loss of the machine ends every process with status 137, and is logged")
    func lostMachine() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        fakes.hypervisor.machines[0].end(.signalled(11))
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        try await eventually { fakes.lines.all.contains { $0.hasPrefix("the virtual machine ended") } }
        #expect(fakes.share.servers[0].hasEnded && fakes.channel.isClosed)
        #expect(try await fakes.sandbox.delete(container: "c1").status == 137)
        await fakes.sandbox.stop()
        #expect(await fakes.sandbox.state == .gone)
    }

    @Test("the loss of the file server ends the machine, with the reason for the next call")
    func lostFileServer() async throws {
        let (fakes, _) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        fakes.share.servers[0].end(.exited(1))
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        #expect(fakes.hypervisor.machines[0].exit == .signalled(9))
        let error = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.addExec(
                container: "c1", exec: "e1", process: Spec.example.process!, streams: StreamPaths())
        }
        #expect(error?.description.contains("fakefsd, which serves the guest its files, exited with status 1") == true)
        await fakes.sandbox.stop()
    }

    @Test("the loss of the agent ends the machine")
    func lostAgent() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        guest.agent.hangUp()
        try await eventually { fakes.hypervisor.machines[0].exit != nil }
        #expect(fakes.lines.all.contains { $0.hasPrefix("the guest's agent has ended") })
        await fakes.sandbox.stop()
    }

    @Test("a call to a halted machine fails at once, with the process that a signal has stopped")
    func halted() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        guest.ignore("SignalProcess")
        fakes.hypervisor.machines[0].halt()
        let error = await #expect(throws: RPCError.self) {
            try await fakes.sandbox.signal(SIGTERM, container: "c1")
        }
        #expect(error?.code == .deadlineExceeded && error?.message.contains("was stopped by a signal") == true)
        await fakes.sandbox.stop()
    }

    @Test("SIGKILL ends the machine where the guest can't kill")
    func killOfHalted() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        guest.ignore("SignalProcess")
        fakes.share.servers[0].halt()
        try await fakes.sandbox.signal(SIGKILL, container: "c1")
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        #expect(fakes.hypervisor.machines[0].exit == .signalled(9))
        await fakes.sandbox.stop()
    }

    // MARK: Stop

    @Test("a stop asks the guest first, is idempotent, and leaves nothing on the host")
    func stop() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        try await fakes.create("c1")
        async let first: Void = fakes.sandbox.stop()
        async let second: Void = fakes.sandbox.stop()
        _ = await (first, second)
        #expect(guest.calls.filter { $0 == "DestroySandbox" }.count == 1)
        #expect(fakes.hypervisor.machines[0].stops == [.zero])
        #expect(await fakes.sandbox.state == .gone && fakes.channel.isClosed && fakes.share.servers[0].hasEnded)
    }

    @Test("a guest that refuses its end gets time to power off")
    func reluctant() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        guest.refuse("DestroySandbox")
        await fakes.sandbox.stop()
        #expect(fakes.hypervisor.machines[0].stops.first.map { $0 > .zero } == true)
    }

    // MARK: Warm machines

    @Test("a sandbox takes a warm machine, reseeds it and mounts nothing again; the warm sandbox has nothing left")
    func takeOver() async throws {
        let (warm, guest) = try await FakeSandbox.ready()
        let fakes = try FakeSandbox(id: "s2")
        let offer = WarmSandbox(warm.sandbox, version: "1")
        try await fakes.sandbox.takeOver(offer)
        #expect(await fakes.sandbox.state == .ready)
        #expect(await warm.sandbox.state == .gone)
        #expect(guest.calls.filter { $0 == "CreateSandbox" }.count == 2)
        #expect(guest.calls.filter { $0 == "ReseedRandomDev" }.count == 1)
        #expect(fakes.hypervisor.machines.isEmpty && warm.hypervisor.machines[0].exit == nil)
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        await warm.sandbox.stop()
        #expect(warm.hypervisor.machines[0].exit == nil)
        await fakes.sandbox.stop()
        #expect(warm.hypervisor.machines[0].exit != nil)
    }

    @Test("a warm machine that has ended is not taken")
    func deadWarm() async throws {
        let (warm, _) = try await FakeSandbox.ready()
        let fakes = try FakeSandbox(id: "s2")
        warm.hypervisor.machines[0].end(.signalled(9))
        await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.takeOver(WarmSandbox(warm.sandbox, version: "1"))
        }
        #expect(await fakes.sandbox.state == .gone)
        await warm.sandbox.stop()
    }
}
