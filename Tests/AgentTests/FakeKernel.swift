import AgentAPI
import Container
import EventLoop
import Glibc
import GuestStorage
import LinuxKernel
import NIOPosix
import OCISpec
import Streams
import Synchronization
import TTRPC
import TestSupport

@testable import Agent

/// A gate that a step of the fake kernel waits at, until the test opens it.
final class Gate: Sendable {
    let reached = OneShot<Void>()
    private let pipe: Pipe

    init() throws { pipe = try Pipe() }

    func open() { try? pipe.writeEnd.writeAll([1], to: "gate") }

    /// Blocks until the gate is open.
    func pass() {
        reached.complete(())
        _ = readBytes(upTo: 1) { read(pipe.readEnd.raw, $0.baseAddress, $0.count) }
    }
}

/// Notes what the verbs do, fails or waits where the test says so. Cgroups are plain directories, processes are
/// sleep(1).
final class FakeKernel: GuestKernel {
    struct Refusal: Error, CustomStringConvertible {
        let step: String
        var description: String { "no \(step)" }
    }

    private struct State: Sendable {
        var steps: [String] = []
        var refused: String?
        var gates: [String: Gate] = [:]
        var children: [pid_t: ChildProcess] = [:]
    }
    private let state = Mutex(State())
    private let scratch = Scratch()
    private let relay: StreamRelay

    init(relay: StreamRelay) { self.relay = relay }

    deinit {
        for child in state.withLock({ $0.children }).values {
            child.signal(SIGKILL)
            _ = child.wait()
        }
    }

    /// The steps so far, in order.
    var steps: [String] { state.withLock { $0.steps } }
    func forgetSteps() { state.withLock { $0.steps = [] } }
    func refuse(_ step: String?) { state.withLock { $0.refused = step } }

    /// Makes the next such step wait.
    func gate(at step: String) throws -> Gate {
        let gate = try Gate()
        state.withLock { $0.gates[step] = gate }
        return gate
    }

    private func take(_ step: String) throws {
        let (isRefused, gate) = state.withLock { state in
            state.steps.append(step)
            return (state.refused == step, state.gates.removeValue(forKey: step))
        }
        gate?.pass()
        if isRefused { throw Refusal(step: step) }
    }

    func findDisk(_ device: Grpc_Device) throws -> BlockDevice {
        try take("find \(device.id)")
        return BlockDevice(name: "vdb", major: 254, minor: 16)
    }

    func loadModule(_ name: String, parameters: String) throws { try take("module \(name) \(parameters)") }
    func write(_ sysctl: ContainerPlan.Setting) throws { try take("\(sysctl.path) = \(sysctl.value)") }
    func makePodInit() throws -> PodInit {
        try take("pod init")
        let child = try ChildProcess(Command("/bin/sleep", ["1000"]))
        state.withLock { $0.children[child.pid] = child }
        return PodInit(child)
    }
    func mountForSandbox(_ storage: Grpc_Storage) throws { try take("mount \(storage.mountPoint)") }
    func mountForContainer(_ storage: Grpc_Storage) throws { try take("mount \(storage.mountPoint)") }
    func unmountForContainer(_ mountPoint: String) { try? take("unmount \(mountPoint)") }

    private struct Socket: RelayedSocket {
        let closing: @Sendable () -> Void
        func close() { closing() }
    }

    func listen(_ storage: Grpc_Storage) throws -> any RelayedSocket {
        let path = storage.mountPoint
        try take("listen \(path)")
        return Socket { [self] in try? take("close \(path)") }
    }

    func cgroup(of plan: ContainerPlan) -> Cgroup { Cgroup(plan.cgroup, root: scratch.path) }

    func create(_ cgroup: Cgroup, for plan: ContainerPlan) throws {
        try take("create cgroup")
        try Files.makeDirectory(cgroup.path)
        for file in ["cgroup.kill", "cgroup.freeze", "cgroup.procs", "memory.events"] {
            try Files.write(cgroup.path + "/" + file, "")
        }
    }

    func remove(_ cgroup: Cgroup) {
        try? take("remove cgroup")
        Files.removeTree(cgroup.path)
    }

    func enterShares(of plan: ContainerPlan) { try? take("enter shares") }
    func leaveShares(of plan: ContainerPlan) { try? take("forget files") }

    func launch(_ launch: Launch, filter: SeccompFilter?, ports: StreamPorts) throws -> GuestProcess {
        switch launch {
        case .container: try take("launch")
        case .exec: try take("exec")
        }
        let child = try ChildProcess(Command("/bin/sleep", ["1000"]))
        let pair = try SocketPair()
        let theirs = SyncSocket(try pair.theirs.duplicate())
        let process = GuestProcess(
            pid: child.pid, syncSocket: SyncSocket(pair.keepingOurs()), errorPage: try ErrorPage.make(),
            streams: try ProcessStreams(ProcessStreams.Ends(), StreamPorts(), relay: relay))
        // The init's part: it closes its end when the program runs.
        try startThread("init") { [theirs = SendableSocket(theirs)] in _ = theirs.socket.waitForGo() }
        state.withLock { $0.children[child.pid] = child }
        return process
    }

    /// Waits for a fake process to end, as the agent's reaper does.
    func exitStatus(of process: GuestProcess) -> Int32 {
        let child = state.withLock { $0.children.removeValue(forKey: process.pid) }
        let status = child?.wait().status ?? -1
        process.hasExited(status)
        return status
    }

    private final class SendableSocket: Sendable {
        let socket: SyncSocket
        init(_ socket: consuming SyncSocket) { self.socket = socket }
    }
}

/// An agent on a fake kernel.
struct FakeGuest {
    let kernel: FakeKernel
    let guest: Guest
    let service: Service
    let hasPoweredOff = OneShot<Void>()

    init() throws {
        let relay = try StreamRelay()
        kernel = FakeKernel(relay: relay)
        let hasPoweredOff = hasPoweredOff
        guest = try Guest(
            loop: MultiThreadedEventLoopGroup.singleton.next(), kernel: kernel, relay: relay,
            // The children of this process are the tests'.
            reaper: Reaper(collect: { .noChildren })
        ) { hasPoweredOff.complete(()) }
        service = Service(guest: guest)
    }

    static func request(_ id: String, storages: [(driver: String, at: String)] = []) -> Grpc_CreateContainerRequest {
        var request = Grpc_CreateContainerRequest()
        request.containerID = id
        request.specJson = .init(Spec.example.json())
        request.storages = storages.map { driver, path in
            var storage = Grpc_Storage()
            (storage.driver, storage.mountPoint) = (driver, path)
            return storage
        }
        return request
    }

    func create(_ id: String, storages: [(driver: String, at: String)] = []) async throws {
        _ = try await service.createContainer(Self.request(id, storages: storages), CallContext())
    }

    func start(_ id: String) async throws {
        var request = Grpc_StartContainerRequest()
        request.containerID = id
        _ = try await service.startContainer(request, CallContext())
    }

    func remove(_ id: String) async throws {
        var request = Grpc_RemoveContainerRequest()
        request.containerID = id
        _ = try await service.removeContainer(request, CallContext())
    }

    func signal(_ id: String, exec: String = "", _ signal: Int32) async throws {
        var request = Grpc_SignalProcessRequest()
        (request.containerID, request.execID, request.signal) = (id, exec, UInt32(signal))
        _ = try await service.signalProcess(request, CallContext())
    }

    func exec(_ id: String, _ exec: String) async throws {
        var request = Grpc_ExecProcessRequest()
        (request.containerID, request.execID) = (id, exec)
        request.processJson = .init(Spec.example.process?.json() ?? [])
        _ = try await service.execProcess(request, CallContext())
    }

    func wait(_ id: String, _ exec: String = "") async throws -> Int32 {
        var request = Grpc_WaitProcessRequest()
        (request.containerID, request.execID) = (id, exec)
        return try await service.waitProcess(request, CallContext()).status
    }
}

/// The status code of a call that fails; nil when it succeeds or fails otherwise.
func code(_ body: () async throws -> Void) async -> RPCError.Code? {
    do { try await body() } catch let error as RPCError { return error.code } catch {}
    return nil
}
