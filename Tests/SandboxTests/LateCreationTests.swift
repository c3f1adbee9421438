import LinuxKernel
import TTRPC
import TestSupport
import Testing

@testable import Sandbox

@Suite("A guest that creates a container too late", .timeLimit(.minutes(5)))
struct LateCreationTests {
    /// A sandbox whose guest has been too slow with c1, after whose creation has failed nothing of it is on the host.
    private func late() async throws -> (FakeSandbox, FakeGuest) {
        let (fakes, guest) = try await FakeSandbox.ready(toml: "[runtime]\ncreate_container_timeout = 1\n")
        let before = LedgerFile(fakes.ledger).left
        guest.ignore("CreateContainer")
        let error = await #expect(throws: RPCError.self) { try await fakes.create("c1") }
        #expect(error?.code == .deadlineExceeded)
        #expect(error?.message.contains("create_container_timeout") == true, "\(error?.message ?? "")")
        #expect(await fakes.sandbox.isEmpty && fakes.channel.ports == [])
        #expect(LedgerFile(fakes.ledger).left == before)
        return (fakes, guest)
    }

    private func isFree(_ fakes: FakeSandbox) async -> Bool { await !fakes.sandbox.heldNames.contains("c1") }

    @Test("the container is removed once the guest has created it; until then no other one gets its name")
    func created() async throws {
        let (fakes, guest) = try await late()
        let error = await #expect(throws: SandboxError.self) { try await fakes.create("c1") }
        #expect(error?.kind == .alreadyExists)
        #expect(guest.calls.last == "CreateContainer" && guest.calls.count { $0 == "CreateContainer" } == 1)
        guest.withhold("RemoveContainer")
        guest.answerLate("CreateContainer")
        try await eventually { guest.calls.last == "RemoveContainer" }
        #expect(await !isFree(fakes))
        guest.deliver("RemoveContainer")
        try await eventually { await isFree(fakes) }
        #expect(guest.phase("c1") == nil)
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        await fakes.expectCleanStop()
    }

    @Test("a container that the guest has failed to create is not removed there, and its name is free")
    func refused() async throws {
        let (fakes, guest) = try await late()
        guest.refuseLate("CreateContainer")
        try await eventually { await isFree(fakes) }
        #expect(!guest.calls.contains("RemoveContainer"))
        guest.accept("CreateContainer")
        try await fakes.create("c1")
        await fakes.expectCleanStop()
    }

    @Test("a removal that fails is logged, and the name is free")
    func kept() async throws {
        let (fakes, guest) = try await late()
        guest.refuse("RemoveContainer")
        guest.answerLate("CreateContainer")
        try await eventually { await isFree(fakes) }
        #expect(fakes.lines.all.contains { $0.hasPrefix("the guest keeps a container") })
        await fakes.expectCleanStop()
    }

    @Test("a stop does not wait for the guest's answer, and leaves nothing")
    func stopped() async throws {
        let (fakes, _) = try await late()
        await fakes.expectCleanStop()
        try await eventually { await isFree(fakes) }
        #expect(!fakes.lines.all.contains { $0.hasPrefix("the guest keeps a container") })
    }
}
