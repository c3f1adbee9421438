import Glibc
import LinuxKernel
import Stdio
import TestSupport
import Testing

@testable import Sandbox

/// A part that a sandbox can't do without, and its loss.
enum Loss: CaseIterable, Sendable {
    case machine, fileServer, agent

    func happen(to fakes: FakeSandbox, _ guest: FakeGuest) {
        switch self {
        case .machine: fakes.hypervisor.machines.last?.end(.signalled(SIGSEGV))
        case .fileServer: fakes.share.servers.last?.end(.exited(1))
        case .agent: guest.agent.hangUp()
        }
    }

    /// The cause in an error's text.
    var cause: String {
        switch self {
        case .machine: "FakeVM was killed by signal \(SIGSEGV)"
        case .fileServer: "fakefsd, which serves the guest its files, exited with status 1"
        case .agent: "the guest's agent has ended"
        }
    }
}

extension FakeSandbox {
    /// Lets everything run that waits for its turn on the sandbox's loop.
    func turns() async { for _ in 0..<20 { _ = await sandbox.state } }

    /// Expects that nothing of the sandbox is left. Threads of their own close what they have a moment later.
    func expectNothingLeft(_ location: SourceLocation = #_sourceLocation) async {
        try? await eventually { leftovers.isEmpty }
        #expect(leftovers == [], sourceLocation: location)
    }

    /// Stops the sandbox, and expects that nothing of it is left.
    func expectCleanStop(_ location: SourceLocation = #_sourceLocation) async {
        await sandbox.stop()
        #expect(await sandbox.state == .gone, sourceLocation: location)
        await expectNothingLeft(location)
    }

    /// Starts a call, and returns when the guest has got it.
    func begin<Answer: Sendable>(
        _ method: String, of guest: FakeGuest, _ body: @escaping @Sendable (Sandbox) async throws -> Answer
    ) async throws -> Task<Answer, any Error> {
        let before = guest.calls.count { $0 == method }
        let call = Task { [sandbox] in try await body(sandbox) }
        try await eventually { guest.calls.count { $0 == method } > before }
        return call
    }

    /// Begins a wait on the sandbox's loop, before this returns.
    func wait(_ container: String, _ exec: String = "") async -> Task<Int32, any Error> {
        let wait = Task(executorPreference: sandbox.executor) { [sandbox] in
            try await sandbox.wait(container: container, exec: exec).status
        }
        await turns()
        return wait
    }
}

/// A manager's fifo, outside of the sandbox's files.
struct Fifo: Sendable {
    private let scratch = Scratch()
    let path: String
    private let reader: SharedDescriptor

    init() throws {
        let path = scratch.path + "/output"
        try #require(mkfifo(path, 0o600) == 0)
        self.path = path
        reader = SharedDescriptor(try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK))
    }

    /// Expects that the sandbox has closed it, and has written nothing.
    func expectEnd(_ location: SourceLocation = #_sourceLocation) throws {
        let bytes = try reader.descriptor.readAll("fifo", limit: 10, by: .now + .longWait)
        #expect(bytes == [], sourceLocation: location)
    }
}
