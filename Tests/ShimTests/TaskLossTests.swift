import LinuxKernel
import OCISpec
import ShimAPI
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// Answers to managers when a machine is lost, and when calls meet.
extension ContainerdTasksTests {
    /// Begins a call, and returns when the guest has got its part.
    private func begin<Answer: Sendable>(
        _ method: String, _ body: @escaping @Sendable () async throws -> Answer
    ) async throws -> Task<Answer, any Error> {
        let before = guest.calls.count { $0 == method }
        let call = Task { try await body() }
        try await eventually { guest.calls.count { $0 == method } > before }
        return call
    }

    /// Begins a wait, and returns when the manager would have its answer to other calls.
    private func wait(_ id: String) async throws -> Task<UInt32, any Error> {
        let wait = Task { [tasks, context] in try await tasks.wait(.with { $0.id = id }, context).exitStatus }
        _ = try await state(id)
        return wait
    }

    private func expectLoss(_ error: RPCError?, in call: String, _ location: SourceLocation = #_sourceLocation) {
        #expect(error?.code == .unknown, sourceLocation: location)
        #expect(
            error?.message.hasPrefix("\(call): the virtual machine ended (FakeVM was killed by signal 9)") == true,
            "\(error?.message ?? "")", sourceLocation: location)
    }

    @Test("a machine that is lost during Create: the manager gets the cause, and finds no container")
    func lostInCreate() async throws {
        try await create("c1")
        guest.ignore("CreateContainer")
        let creation = try await begin("CreateContainer") { [self] in try await create("c2") }
        #expect(try await state("c2") == .created)
        let wait = try await wait("c2")
        fakes.hypervisor.machines[0].end(.killed)
        expectLoss(await #expect(throws: RPCError.self) { try await creation.value }, in: "create container c2")
        #expect(try await wait.value == 137)
        #expect(await code { _ = try await state("c2") } == .notFound)
        #expect(try await state("c1") == .stopped)
        await fakes.sandbox.stop()
    }

    @Test("a machine that is lost during Start: the manager gets the cause, its Wait ends, and Delete works")
    func lostInStart() async throws {
        try await create("c1")
        guest.ignore("StartContainer")
        let start = try await begin("StartContainer") { [tasks, context] in
            try await tasks.start(.with { $0.id = "c1" }, context)
        }
        #expect(try await state("c1") == .created)
        let wait = try await wait("c1")
        fakes.hypervisor.machines[0].end(.killed)
        expectLoss(await #expect(throws: RPCError.self) { try await start.value }, in: "start container c1")
        #expect(try await wait.value == 137)
        #expect(try await state("c1") == .stopped)
        #expect(try await tasks.delete(.with { $0.id = "c1" }, context).exitStatus == 137)
        await fakes.sandbox.stop()
    }

    @Test("Shutdown while a container is created: both calls have their answers, and the shim ends once")
    func shutdownInCreate() async throws {
        try await create("c1")
        guest.ignore("CreateContainer")
        let creation = try await begin("CreateContainer") { [self] in try await create("c2") }
        let wait = try await wait("c2")
        // The sandbox has containers: only a request that says now ends it.
        _ = try await tasks.shutdown(.init(), context)
        #expect(try await state("c2") == .created)
        _ = try await tasks.shutdown(.with { $0.now = true }, context)
        await #expect(throws: RPCError.self) { try await creation.value }
        #expect(try await wait.value == 137)
        #expect(await fakes.sandbox.state == .gone && ends.count.load(ordering: .relaxed) == 1)
        try await eventually { fakes.leftovers.isEmpty }
    }

    @Test("Kill while a container is created or started is answered, and the task has ended")
    func killInBetween() async throws {
        try await create("c1")
        guest.ignore("StartContainer")
        let start = try await begin("StartContainer") { [tasks, context] in
            try await tasks.start(.with { $0.id = "c1" }, context)
        }
        guest.ignore("CreateContainer")
        let creation = try await begin("CreateContainer") { [self] in try await create("c2") }
        let waits = [try await wait("c1"), try await wait("c2")]
        for id in ["c1", "c2"] {
            _ = try await tasks.kill(.with { ($0.id, $0.signal) = (id, 9) }, context)
        }
        for method in ["StartContainer", "CreateContainer"] { guest.answerLate(method) }
        await #expect(throws: RPCError.self) { try await start.value }
        try await creation.value
        for wait in waits { #expect(try await wait.value == 137) }
        for id in ["c1", "c2"] {
            #expect(try await state(id) == .stopped)
            #expect(try await tasks.delete(.with { $0.id = id }, context).exitStatus == 137)
        }
        #expect(guest.phase("c1") == nil && guest.phase("c2") == nil)
        await fakes.sandbox.stop()
    }
}
