import Cleanup
import EventLoop
import Glibc
import LinuxKernel
import Logging
import NIOCore
import NIOPosix
import OCISpec
import Pod
import Sandbox
import ShimAPI
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

/// `delete` for a task that containerd has lost, with a shim that answers and with none.
@Suite("The shim's delete", .timeLimit(.minutes(5)))
struct ShimDeleteTests {
    private let scratch = Scratch()
    private var socket: String { scratch.path + "/shim.sock" }

    /// Cleans up as the process does that `delete` leaves behind.
    private func delete(_ container: String, _ paths: SandboxPaths, within limit: Duration = .longWait) async throws {
        let task = LostTask(container: container, paths: paths, socket: socket, limit: limit)
        try await blocking("delete") { task.remove() }
    }

    // MARK: A shim that answers

    /// A serving shim of the pod s1, with its own container and others.
    private final class Pod: Sendable {
        let guest: FakeGuest
        let fakes: FakeSandbox
        let tasks: ContainerdTasks
        private let listener: any Channel
        private let context = CallContext(metadata: [:])

        /// - Parameter standalone: whether CreateSandbox has made the sandbox: it has no container of its own.
        init(_ others: String..., standalone: Bool = false, socket: String) async throws {
            (fakes, guest) = try await FakeSandbox.ready(pod: PodLimits(), standalone: standalone ? .init() : nil)
            tasks = ContainerdTasks(serving: fakes) { [ledger = fakes.ledger] _ in ledger.end() }
            let server = RPCServer(
                eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
                services: [
                    "containerd.task.v2.Task": tasks.answer,
                    ContainerdSandboxes.serviceName: ContainerdSandboxes(tasks).answer,
                ])
            try fakes.ledger.add(.socket(path: socket))
            listener = try await server.listen(socket: try UnixSocket.listen(socket).take())
            for id in (standalone ? [] : ["s1"]) + others {
                try await fakes.create(id)
                _ = try await tasks.start(.with { $0.id = id }, context)
            }
        }

        deinit { listener.close(promise: nil) }

        var paths: SandboxPaths { fakes.plan.paths }

        /// nil: the shim doesn't have it.
        func status(_ id: String) async -> Containerd_Task_V2_Status? {
            try? await tasks.state(.with { $0.id = id }, context).status
        }

        func deleteByShim(_ id: String) async throws {
            guest.end(id, status: 0)
            _ = try await tasks.wait(.with { $0.id = id }, context)
            _ = try await tasks.delete(.with { $0.id = id }, context)
        }

        func expectGone() async throws {
            #expect(await fakes.sandbox.state == .gone && !Files.exists(paths.machine))
            // The ledger's own file is open until the shim exits.
            func left() -> [String] { fakes.leftovers.filter { !$0.hasSuffix("/ledger (deleted)") } }
            try? await eventually { left().isEmpty }
            #expect(left() == [])
        }
    }

    @Test("a pod's own container that the shim still has is removed alone; the shim ends with the last container")
    func podsOwn() async throws {
        let pod = try await Pod("c1", socket: socket)
        try await delete("s1", pod.paths)
        #expect(await pod.status("s1") == nil && pod.guest.phase("s1") == nil)
        #expect(await pod.status("c1") == .running && pod.guest.phase("c1") == .running)
        #expect(await pod.fakes.sandbox.state == .ready && Files.exists(pod.paths.machine))
        try await delete("c1", pod.paths)
        try await pod.expectGone()
    }

    @Test("the call that follows each deletion through the shim changes nothing while the pod has containers")
    func afterDeletion() async throws {
        let pod = try await Pod("c1", "c2", socket: socket)
        for id in ["s1", "c1"] {
            try await pod.deleteByShim(id)
            let calls = pod.guest.calls
            try await delete(id, pod.paths)
            #expect(pod.guest.calls == calls)
            #expect(await pod.status("c2") == .running)
        }
        try await delete("c2", pod.paths)
        try await pod.expectGone()
    }

    @Test("a pod's other container is removed alone, also one that has ended and one that was never started")
    func member() async throws {
        let pod = try await Pod("c1", socket: socket)
        try await pod.fakes.create("c2")
        pod.guest.end("c1", status: 4)
        try await eventually { await pod.status("c1") == .stopped }
        for id in ["c1", "c2"] {
            try await delete(id, pod.paths)
            #expect(await pod.status(id) == nil && pod.guest.phase(id) == nil)
        }
        #expect(await pod.status("s1") == .running)
        try await delete("s1", pod.paths)
        try await pod.expectGone()
    }

    @Test("a pod's own container keeps the shim while another has ended, whose status containerd may still ask for")
    func endedOther() async throws {
        let pod = try await Pod("c1", socket: socket)
        pod.guest.end("c1", status: 4)
        try await eventually { await pod.status("c1") == .stopped }
        try await delete("s1", pod.paths)
        #expect(await pod.status("s1") == nil)
        #expect(try await pod.fakes.sandbox.wait(container: "c1").status == 4)
        try await delete("c1", pod.paths)
        try await pod.expectGone()
    }

    @Test("a sandbox that CreateSandbox has made goes on without containers, and ends with its own bundle")
    func standalone() async throws {
        let pod = try await Pod("c1", "c2", standalone: true, socket: socket)
        for id in ["c1", "c2"] { try await delete(id, pod.paths) }
        #expect(await pod.status("c1") == nil && pod.guest.phase("c2") == nil)
        #expect(await pod.fakes.sandbox.state == .ready && Files.exists(pod.paths.machine))
        try await delete("s1", pod.paths)
        try await pod.expectGone()
    }

    // MARK: A shim that does not answer

    /// The ledger of a sandbox with a process that could be a shim.
    private func ledger() throws -> (SandboxPaths, ChildProcess) {
        let paths = SandboxPaths(sandbox: "s1", root: scratch.path)
        let ledger = try Ledger.begin(in: paths.machine)
        try ledger.add(.socket(path: socket))
        let shim = try ChildProcess(Command("/bin/sleep", ["60"])) { process throws(SystemError) in
            try ledger.add(.owner(id: process))
        }
        return (paths, shim)
    }

    private func expectEnded(_ paths: SandboxPaths, _ shim: ChildProcess) {
        #expect(shim.wait() == .signalled(SIGKILL))
        #expect(!Files.exists(paths.machine) && !Files.exists(socket))
    }

    @Test("a shim on whose socket nothing listens is dead: its sandbox is removed, whichever container it is for")
    func dead() async throws {
        for (container, hasFile) in [("s1", true), ("c1", true), ("c1", false)] {
            let (paths, shim) = try ledger()
            if hasFile { _ = try UnixSocket.listen(socket) }
            try await delete(container, paths)
            expectEnded(paths, shim)
        }
    }

    @Test("a shim that accepts a connection and does not answer counts as dead")
    func silent() async throws {
        for container in ["s1", "c1"] {
            let (paths, shim) = try ledger()
            let listener = SharedDescriptor(try UnixSocket.listen(socket))
            let began = ContinuousClock.now
            try await delete(container, paths, within: .milliseconds(300))
            #expect(.now - began >= .milliseconds(300))
            expectEnded(paths, shim)
            _ = listener
        }
    }

    @Test("a shim that does not even accept connections counts as dead")
    func full() async throws {
        let (paths, shim) = try ledger()
        let listener = SharedDescriptor(try UnixSocket.listen(socket, backlog: 0))
        let waiting = SharedDescriptor(try UnixSocket.connect(socket))
        try await delete("s1", paths, within: .milliseconds(300))
        expectEnded(paths, shim)
        _ = (listener, waiting)
    }

    @Test("a sandbox of the same name whose shim has another socket is left alone")
    func foreign() async throws {
        let (paths, shim) = try ledger()
        let task = LostTask(container: "s1", paths: paths, socket: scratch.path + "/other.sock")
        try await blocking("delete") { task.remove() }
        #expect(Files.exists(paths.machine) && kill(shim.pid, 0) == 0)
        shim.signal(SIGKILL)
        _ = shim.wait()
    }
}
