import AgentAPI
import Cleanup
import EventLoop
import LinuxKernel
import OCISpec
import Stdio
import Streams
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

/// A sandbox that is ready, with the test's agent; nothing was asked of that yet.
final class AgentSandbox: Sendable {
    private let fakes: FakeSandbox
    var sandbox: Sandbox { fakes.sandbox }
    var lines: LogLines { fakes.lines }

    init(_ agent: FakeAgent) async throws {
        fakes = try FakeSandbox()
        let (sandbox, limits, loop) = (fakes.sandbox, fakes.sandbox.limits, fakes.sandbox.loop)
        let vm = try await fakes.hypervisor.start(
            fakes.plan.machine, logs: BoundedLogs(), memory: nil, on: loop, admit: { _ in })
        let connection = try await RPCClient.connect(
            socket: agent.host, limits: .agent { limits.reached($0, $1) }, on: loop)
        await sandbox.adopt(
            RunningMachine(
                vm: vm, fileServer: FakeFileServer(), channel: fakes.channel, connection: connection,
                relay: try StreamRelay(), logs: try BoundedLogs(), origin: .booted, beginning: fakes.ledger.mark))
    }

    deinit { fakes.end() }
}

extension Sandbox {
    fileprivate func adopt(_ machine: RunningMachine) { (self.machine, state) = (machine, .ready) }

    fileprivate func setUp() async throws {
        guard var machine else { return }
        try await createGuestSandbox(&machine)
        self.machine = machine
    }
    fileprivate var features: [String] { machine?.agentFeatures ?? [] }
}

@Suite("agents that answer as agents do, and lie", .timeLimit(.minutes(5)))
struct MaliciousAgentTests {
    @Test("reports of memory that has run out: strangers are dropped, and more than one a second; each is logged once")
    func outOfMemory() async throws {
        let number = Mutex(0)
        let names = ["other", "c1", "c1", "../../x", "c1", "\u{1b}[2J", "c2", "c1"]
        let agent = try FakeAgent { call in
            guard call.method == "GetOOMEvent" else { return .reply([]) }
            let name = number.withLock { number in
                defer { number += 1 }
                return names[number % names.count]
            }
            return .reply(Grpc_OOMEvent.with { $0.containerID = name })
        }
        let test = try await AgentSandbox(agent)
        for id in ["c1", "c2"] {
            try await test.sandbox.reserve(id, bundle: "/b", streams: StreamPaths())
        }
        let began = ContinuousClock.now
        var reports: [String: Int] = [:]
        while agent.count("GetOOMEvent") < 2 * names.count {
            reports[try await test.sandbox.nextOutOfMemory(), default: 0] += 1
        }
        let seconds = Int((ContinuousClock.now - began) / .seconds(1))
        #expect(Set(reports.keys) == ["c1", "c2"], "\(reports)")
        #expect(reports.values.allSatisfy { $0 <= seconds + 1 }, "\(reports) in \(seconds) s")
        let limits = test.lines.all.filter { $0.contains("limit=out of memory") }
        #expect(limits.count == 2 && limits.allSatisfy { !$0.contains("\u{1b}") }, "\(limits)")
    }

    @Test("one report a second, of the containers that there are")
    func reports() {
        var reports = OOMReports()
        let now = ContinuousClock.now
        #expect(reports.judge("c", known: ["c"], at: now) == .passes)
        #expect(reports.judge("c", known: ["c", "d"], at: now + .milliseconds(999)) == .refused(.outOfMemory))
        #expect(reports.judge("d", known: ["c", "d"], at: now + .milliseconds(999)) == .passes)
        #expect(reports.judge("c", known: ["c"], at: now + .milliseconds(1000)) == .passes)
        #expect(reports.judge("d", known: ["c"], at: now + .seconds(9)) == .refused(.unknownContainer))
    }

    @Test("a kill that comes with a container's end is reported once, whichever report comes first")
    func reportsOfEnds() {
        var reports = OOMReports()
        let now = ContinuousClock.now
        #expect(reports.judgeEnd(of: "c", at: now) == .passes)
        #expect(reports.judge("c", known: ["c"], at: now) == .alreadyReported)
        reports.forget("c")
        #expect(reports.judge("c", known: ["c"], at: now) == .passes)
        #expect(reports.judgeEnd(of: "c", at: now) == .alreadyReported)
    }

    @Test(
        "a process that the guest says has ended has ended for the host, with a status that processes have",
        arguments: [(Int32(7), Int32(7)), (.min, 255), (-1, 255), (256, 255), (.max, 255)])
    func exits(_ told: Int32, _ taken: Int32) async throws {
        let agent = try FakeAgent { call in
            call.method == "WaitProcess" ? .reply(Grpc_WaitProcessResponse.with { $0.status = told }) : .reply([])
        }
        let test = try await AgentSandbox(agent)
        try await test.sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        try await test.sandbox.start(container: "c1")
        #expect(try await test.sandbox.wait(container: "c1").status == taken)
        #expect(test.lines.all.filter { $0.contains("limit=exit status") }.count == (told == taken ? 0 : 1))
        // Nothing in the guest is believed to be left of it.
        #expect(try await test.sandbox.delete(container: "c1").status == taken)
        #expect(await test.sandbox.isEmpty)
    }

    @Test("a list of a million features is refused, and of a short one the known are kept")
    func features() async throws {
        func details(_ count: Int) -> FakeAgent.Answer {
            .reply(
                Grpc_GuestDetailsResponse.with {
                    $0.memBlockSizeBytes = .max
                    $0.agentDetails.extraFeatures =
                        [String](repeating: "f", count: count) + [AgentFeature.specJSON]
                })
        }
        let answer = Mutex(details(1_000_000))
        let agent = try FakeAgent { call in
            call.method == "GetGuestDetails" ? answer.withLock { $0 } : .reply([])
        }
        let test = try await AgentSandbox(agent)
        try await test.sandbox.setUp()
        #expect(await test.sandbox.features == [])
        answer.withLock { $0 = details(100) }
        try await test.sandbox.setUp()
        #expect(await test.sandbox.features == [AgentFeature.specJSON])
    }

    @Test("an agent's refusal reaches the caller in one line of a bounded length")
    func refusal() async throws {
        let agent = try FakeAgent { call in
            call.method == "StartContainer"
                ? .failure(RPCError(.internal, "no\u{1b}]0;root\u{7}\nforged" + String(repeating: "x", count: 50_000)))
                : .reply([])
        }
        let test = try await AgentSandbox(agent)
        try await test.sandbox.reserve("c1", bundle: "/b", streams: StreamPaths())
        let error = await #expect(throws: RPCError.self) { try await test.sandbox.start(container: "c1") }
        #expect(error?.message.hasPrefix("no ]0;root  forgedxxx") == true && error!.message.utf8.count < 1100)
    }

    @Test(
        "metrics without an end: as many as are asked for are in memory, and no more",
        .notUnderSanitizers)
    func endlessMetrics() async {
        await #expect(processExitsWith: .success) { try await MaliciousAgentTests.takeEndlessMetrics() }
    }

    private static func takeEndlessMetrics() async throws {
        let answer = FakeAgent.Answer.reply(
            Grpc_Metrics.with { $0.metrics = String(repeating: "kata_x 1\n", count: 460_000) })
        let agent = try FakeAgent { _ in answer }
        let test = try await AgentSandbox(agent)
        let sandbox = test.sandbox
        let before = ResidentMemory.now
        try await withThrowingTaskGroup { group in
            for _ in 0..<100 {
                group.addTask { _ = try await sandbox.ask(agent: "GetMetrics", []).count }
            }
            try await group.waitForAll()
        }
        // Eight replies and what decoding them takes; 100 would be 400 MiB.
        let grown = ResidentMemory.peak - before
        #expect(grown < 200 << 20, "\(grown >> 20) MiB more")
    }
}
