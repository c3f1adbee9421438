import AgentAPI
import Glibc
import Hypervisor
import LinuxKernel
import NIOPosix
import Snapshot
import TTRPC
import TestSupport
import Testing

@testable import Sandbox

/// Machines that are no fresh boots, clones of a template and warm ones, and the failures on their way.
@Suite("Clones and warm machines", .timeLimit(.minutes(5)))
struct CloneTests {
    /// A sandbox whose configuration names a template, which exists. Its only machine has ended.
    private struct Template {
        let scratch = Scratch()
        let guest: FakeGuest
        let fakes: FakeSandbox
        var directory: String { scratch.path + "/template" }
        /// The clone, and a machine that was booted in its place.
        var machines: ArraySlice<FakeVirtualMachine> { fakes.hypervisor.machines.dropFirst() }

        init() async throws {
            let guest = try FakeGuest()
            let fakes = try FakeSandbox(
                guest.agent,
                toml: "[factory]\nenable_template = true\ntemplate_path = \"\(scratch.path)/template\"\n")
            (self.guest, self.fakes) = (guest, fakes)
            let template = try #require(fakes.plan.template)
            async let made: Void = template.make(
                version: Version.current, within: .longWait, on: MultiThreadedEventLoopGroup.singleton.next())
            try await eventually { fakes.hypervisor.machines.count == 1 }
            let machine = fakes.hypervisor.machines[0].configuration
            try Files.write(machine.directory + "/memory", [UInt8](repeating: 7, count: 3 << 12))
            try Files.write(machine.consoleFile, ConsoleLine.templateReady + "\n")
            try await made
        }
    }

    @Test("a clone gets the template's memory, its own devices, new random numbers, and the sandbox's share")
    func clone() async throws {
        let template = try await Template()
        let fakes = template.fakes
        try await fakes.sandbox.boot()
        let clone = try #require(template.machines.first)
        #expect(template.machines.count == 1 && clone.configuration.memory == .saved)
        #expect(clone.memory?.isOpen == false)
        #expect(template.guest.calls.contains("ReseedRandomDev"))
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        await fakes.expectCleanStop()
    }

    // MARK: Failures before the clone has anything of the sandbox

    enum Fault: CaseIterable, Sendable { case noTemplate, noMemory, noProcess, lostMemory, noState, refusedState }

    @Test(
        "a clone that fails before it has anything of the sandbox is ended; the machine boots, and the log says why",
        arguments: Fault.allCases)
    func fallBack(_ fault: Fault) async throws {
        let template = try await Template()
        let (fakes, directory) = (template.fakes, template.directory)
        var reason = "no such file or directory"
        switch fault {
        case .noTemplate:
            Files.removeTree(directory)
            reason = "kata-runtime factory init makes it"
        case .noMemory: unlink(directory + "/memory")
        case .noState: unlink(directory + "/state")
        case .noProcess, .lostMemory, .refusedState:
            reason = fault == .lostMemory ? reason : "the test refuses"
            fakes.hypervisor.before { step, machine in
                guard machine.memory == .saved else { return }
                if fault == .lostMemory { unlink(directory + "/memory") }
                let refused: FakeHypervisor.Step? =
                    switch fault {
                    case .noProcess: .start
                    case .refusedState: .load
                    default: nil
                    }
                if step == refused { throw VMError("the test refuses") }
            }
        }
        try await fakes.sandbox.boot()
        #expect(await fakes.sandbox.state == .ready)
        let line = fakes.lines.all.first { $0.contains(reason) } ?? ""
        #expect(line.contains("template") && line.contains("the machine boots"), "\(fakes.lines.all)")
        let clones = template.machines.filter { $0.configuration.memory == .saved }
        #expect(clones.count == ([.lostMemory, .noState, .refusedState].contains(fault) ? 1 : 0))
        #expect(clones.allSatisfy { $0.stops == [.zero] && $0.exit != nil && $0.memory?.isOpen == false })
        // The machine that boots has everything that the clone was to get.
        let machine = try #require(template.machines.last)
        #expect(machine.configuration.memory == .own && machine.exit == nil)
        #expect(fakes.share.servers.count == 1 && !fakes.share.servers[0].hasEnded && fakes.channel.isOpen)
        #expect(!template.guest.calls.contains("ReseedRandomDev"))
        try await fakes.create("c1")
        await fakes.expectCleanStop()
    }

    // MARK: Failures of a clone that has the sandbox's devices

    @Test(
        "a clone that can't be connected or resumed ends the boot with the hypervisor's reason, and leaves nothing",
        arguments: [FakeHypervisor.Step.connect, .resume])
    func unusable(_ refused: FakeHypervisor.Step) async throws {
        let template = try await Template()
        let fakes = template.fakes
        fakes.hypervisor.before { step, _ in if step == refused { throw VMError("no more ports") } }
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("did not come up: no more ports") == true, "\(error?.description ?? "")")
        #expect(template.machines.count == 1 && template.machines.allSatisfy { $0.exit != nil })
        #expect(await fakes.sandbox.state == .gone)
        await fakes.expectNothingLeft()
    }

    @Test("a clone that ends before its guest answers ends the boot, which does not start another")
    func endsEarly() async throws {
        let template = try await Template()
        let fakes = template.fakes
        fakes.hypervisor.before { [weak hypervisor = fakes.hypervisor] step, _ in
            if step == .resume { hypervisor?.machines.last?.end(.exited(1)) }
        }
        let error = await #expect(throws: SandboxError.self) { try await fakes.sandbox.boot() }
        #expect(error?.description.contains("the virtual machine ended: FakeVM exited with status 1") == true)
        #expect(template.machines.count == 1)
        await fakes.expectNothingLeft()
    }

    @Test("a clone whose random numbers can't be renewed is not used", arguments: ["ReseedRandomDev", "CreateSandbox"])
    func sameNumbers(_ method: String) async throws {
        let template = try await Template()
        template.guest.refuse(method, RPCError(.internal, "not today"))
        let error = await #expect(throws: SandboxError.self) { try await template.fakes.sandbox.boot() }
        #expect(error?.description.contains("did not come up: not today") == true, "\(error?.description ?? "")")
        #expect(template.machines.count == 1)
        await template.fakes.expectNothingLeft()
    }

    @Test("a part that is lost while a clone's guest is set up ends the boot", arguments: [Loss.machine, .fileServer])
    func lost(_ loss: Loss) async throws {
        let template = try await Template()
        let (fakes, guest) = (template.fakes, template.guest)
        guest.ignore("CreateSandbox")
        let boot = try await fakes.begin("CreateSandbox", of: guest) { try await $0.boot() }
        loss.happen(to: fakes, guest)
        let error = await #expect(throws: SandboxError.self) { try await boot.value }
        #expect(error?.description.contains(loss.cause) == true, "\(error?.description ?? "")")
        #expect(template.machines.count == 1)
        await fakes.expectNothingLeft()
    }

    @Test("a stop while a clone loads its state ends the clone, and a machine that is started in its place")
    func stopped() async throws {
        let template = try await Template()
        let fakes = template.fakes
        let (loads, stopped) = (OneShot<Void>(), OneShot<Void>())
        fakes.hypervisor.before { step, _ in
            guard step == .load else { return }
            loads.complete(())
            await stopped.wait()
        }
        let boot = Task { try await fakes.sandbox.boot() }
        await loads.wait()
        await fakes.sandbox.stop()
        stopped.complete(())
        let error = await #expect(throws: SandboxError.self) { try await boot.value }
        #expect(error?.description.contains("was stopped while it started") == true, "\(error?.description ?? "")")
        #expect(await fakes.sandbox.state == .gone)
        await fakes.expectNothingLeft()
    }

    // MARK: Warm machines

    /// A warm sandbox and one that takes its machine, with the ledger that both have in turn.
    private func pair() async throws -> (warm: FakeSandbox, taker: FakeSandbox, FakeGuest) {
        let (warm, guest) = try await FakeSandbox.ready(id: "warm")
        return (warm, try FakeSandbox(id: "s2", ledger: warm.ledger), guest)
    }

    private func expectNothingLeft(_ location: SourceLocation = #_sourceLocation, of sandboxes: FakeSandbox...) async {
        for fakes in sandboxes {
            #expect(await fakes.sandbox.state == .gone, sourceLocation: location)
            await fakes.expectNothingLeft(location)
        }
    }

    @Test(
        "a warm machine whose guest refuses its new sandbox is ended with all that belongs to it",
        arguments: ["CreateSandbox", "ReseedRandomDev"])
    func refusedWarm(_ method: String) async throws {
        let (warm, taker, guest) = try await pair()
        guest.refuse(method, RPCError(.internal, "not today"))
        let error = await #expect(throws: SandboxError.self) {
            try await taker.sandbox.takeOver(WarmSandbox(warm.sandbox, version: "1"))
        }
        #expect(error?.description.contains("did not come up: not today") == true, "\(error?.description ?? "")")
        #expect(taker.hypervisor.machines.isEmpty && warm.hypervisor.machines.count == 1)
        await expectNothingLeft(of: warm, taker)
        #expect(warm.leftAtEnd.map(\.kind) == ["directory", "mount"])
    }

    @Test(
        "a part of a warm machine that is lost while a sandbox takes it: the error names it, and nothing is left",
        arguments: [Loss.machine, .fileServer])
    func lostWarm(_ loss: Loss) async throws {
        let (warm, taker, guest) = try await pair()
        guest.ignore("CreateSandbox")
        let takeOver = try await taker.begin("CreateSandbox", of: guest) {
            try await $0.takeOver(WarmSandbox(warm.sandbox, version: "1"))
        }
        loss.happen(to: warm, guest)
        let error = await #expect(throws: SandboxError.self) { try await takeOver.value }
        #expect(error?.description.contains(loss.cause) == true, "\(error?.description ?? "")")
        await expectNothingLeft(of: warm, taker)
    }

    @Test("a stop while a sandbox takes a warm machine ends the machine")
    func stoppedWarm() async throws {
        let (warm, taker, guest) = try await pair()
        guest.ignore("CreateSandbox")
        let takeOver = try await taker.begin("CreateSandbox", of: guest) {
            try await $0.takeOver(WarmSandbox(warm.sandbox, version: "1"))
        }
        await taker.sandbox.stop()
        await #expect(throws: SandboxError.self) { try await takeOver.value }
        await expectNothingLeft(of: warm, taker)
    }

    @Test("a warm machine that arrives after its new sandbox was stopped is ended")
    func lateWarm() async throws {
        let (warm, taker, _) = try await pair()
        let sandbox = taker.sandbox
        let start = MachineStart(
            taker.plan, ledger: taker.ledger, beginning: taker.ledger.mark, limits: sandbox.limits, log: sandbox.log,
            loop: sandbox.loop, cgroups: nil, networkNamespace: nil, fileServerStarted: { _ in },
            vmStarted: { _, _ in })
        start.cancel()
        let error = await #expect(throws: SandboxError.self) {
            _ = try await WarmMachine(warm: WarmSandbox(warm.sandbox, version: "1")).acquire(start)
        }
        #expect(error?.description == "sandbox s2 was stopped while it started")
        await expectNothingLeft(of: warm)
    }

    @Test("a sandbox that was stopped before takes no warm machine, which is still there for another")
    func stoppedBefore() async throws {
        let (warm, taker, _) = try await pair()
        await taker.sandbox.stop()
        await #expect(throws: SandboxError.self) {
            try await taker.sandbox.takeOver(WarmSandbox(warm.sandbox, version: "1"))
        }
        #expect(await warm.sandbox.state == .ready && warm.hypervisor.machines[0].exit == nil)
        await warm.expectCleanStop()
    }

    @Test("two sandboxes that want one warm machine: one gets it, the other fails and ends nothing")
    func twoTakers() async throws {
        let (warm, taker, _) = try await pair()
        let other = try FakeSandbox(id: "s3")
        let offer = WarmSandbox(warm.sandbox, version: "1")
        try await taker.sandbox.takeOver(offer)
        let error = await #expect(throws: SandboxError.self) { try await other.sandbox.takeOver(offer) }
        #expect(error?.description.contains("the warm machine of sandbox warm has ended") == true)
        #expect(await taker.sandbox.state == .ready && warm.hypervisor.machines[0].exit == nil)
        try await taker.create("c1")
        await taker.sandbox.stop()
        await expectNothingLeft(of: warm, taker, other)
    }
}
