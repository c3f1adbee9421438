import AgentAPI
import Cleanup
import Glibc
import LinuxKernel
import Logging
import NIOPosix
import Sandbox
import ShimAPI
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// The warm machine of a shim, and what becomes of it.
@Suite("A shim's sandbox and its warm machine", .timeLimit(.minutes(5)))
struct SandboxHolderTests {
    private let warmGuest: FakeGuest
    private let warm: FakeSandbox
    private let guest: FakeGuest
    private let lines = LogLines()

    init() async throws {
        (warm, warmGuest) = try await FakeSandbox.ready(id: "warm")
        guest = try FakeGuest()
    }

    private func log() -> Logger { Logger(label: "test") { [lines] _ in CollectedLog(lines: lines) } }

    /// The holder of a new sandbox that has the warm machine.
    private func holder(of fakes: FakeSandbox) -> SandboxHolder {
        let holder = emptyHolder()
        holder.hold(fakes.sandbox)
        return holder
    }

    private func emptyHolder() -> SandboxHolder {
        SandboxHolder(
            identifier: "s2", configurationPath: nil, warm: WarmSandbox(warm.sandbox, version: Version.current),
            ledger: warm.ledger, loop: MultiThreadedEventLoopGroup.singleton.next(), log: log())
    }

    private func expectNothingLeft(of sandboxes: FakeSandbox..., at location: SourceLocation = #_sourceLocation)
        async
    {
        for fakes in sandboxes {
            #expect(await fakes.sandbox.state == .gone, sourceLocation: location)
            try? await eventually { fakes.leftovers.isEmpty }
            #expect(fakes.leftovers == [], sourceLocation: location)
        }
    }

    @Test("a warm machine with the same settings is the sandbox's")
    func taken() async throws {
        let fakes = try FakeSandbox(guest.agent, id: "s2", ledger: warm.ledger)
        try await holder(of: fakes).boot(fakes.sandbox)
        #expect(fakes.hypervisor.machines.isEmpty && warm.hypervisor.machines[0].exit == nil)
        await fakes.sandbox.stop()
        await expectNothingLeft(of: warm, fakes)
    }

    @Test("a sandbox without a container takes the warm machine, too, and has its sysctls and process")
    func takenAlone() async throws {
        let fakes = try FakeSandbox(
            guest.agent, id: "s2", standalone: .init(sysctls: ["kernel.shm_rmid_forced": "1"]), ledger: warm.ledger)
        try await holder(of: fakes).boot(fakes.sandbox)
        #expect(fakes.hypervisor.machines.isEmpty && warmGuest.sysctls == ["kernel.shm_rmid_forced": "1"])
        #expect(warmGuest.sharesProcesses)
        let (pid, machine) = (await fakes.sandbox.pid(of: "s2"), await fakes.sandbox.pid)
        #expect(pid != machine && kill(pid, 0) == 0)
        await fakes.sandbox.stop()
        await expectNothingLeft(of: warm, fakes)
    }

    @Test("a warm machine with other settings is ended; the sandbox boots its own, and keeps its container's files")
    func otherSettings() async throws {
        let fakes = try FakeSandbox(
            guest.agent, id: "s2", toml: "[hypervisor.qemu]\ndefault_memory = 1000\n", ledger: warm.ledger)
        // The first container's root file system is mounted before the boot.
        let rootfs = try fakes.bundle("c1") + "/rootfs"
        try fakes.ledger.add(.mount(path: rootfs, namespace: Mounts.namespace))
        try await holder(of: fakes).boot(fakes.sandbox)
        await expectNothingLeftOfWarm()
        #expect(LedgerFile(fakes.ledger).left.first?.name == rootfs)
        #expect(await fakes.sandbox.state == .ready && fakes.hypervisor.machines.count == 1)
        #expect(lines.all.contains { $0.hasPrefix("the cached machine is not used") && $0.contains("other settings") })
        try await fakes.create("c1")
        await fakes.sandbox.stop()
        await expectNothingLeft(of: warm, fakes)
    }

    /// The new sandbox's records are in the same ledger.
    private func expectNothingLeftOfWarm() async {
        #expect(await warm.sandbox.state == .gone)
        #expect(warm.hypervisor.machines[0].exit != nil && warm.share.servers[0].hasEnded && warm.channel.isClosed)
    }

    @Test("a warm machine that fails its sandbox ends with it: no other is booted")
    func failed() async throws {
        warmGuest.refuse("CreateSandbox", RPCError(.internal, "not today"))
        let fakes = try FakeSandbox(guest.agent, id: "s2", ledger: warm.ledger)
        let error = await #expect(throws: SandboxError.self) { try await holder(of: fakes).boot(fakes.sandbox) }
        #expect(error?.description.contains("not today") == true)
        #expect(fakes.hypervisor.machines.isEmpty && guest.calls.isEmpty)
        await expectNothingLeft(of: warm, fakes)
    }

    @Test("a warm machine that no container has taken ends with its shim")
    func unused() async throws {
        let tasks = ContainerdTasks(
            sandboxes: emptyHolder(),
            events: EventPublisher(
                address: nil, namespace: "t", loop: MultiThreadedEventLoopGroup.singleton.next(), log: log()),
            log: log()
        ) { _ in }
        _ = try await tasks.shutdown(.init(), CallContext(metadata: [:]))
        await expectNothingLeft(of: warm)
    }
}
