import EventLoop
import Foundation
import LinuxKernel
import NIOCore
import NIOPosix
import OCISpec
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC

/// A manager's side of containerd's task API, for calls in an order that no manager here makes. It starts the real
/// shim as containerd does, listens for its events, and calls it.
final class Manager: EventsService {
    let lab: Lab
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let seen = Mutex<[String]>([])
    private let runtime: String

    /// - Parameter runtime: the configuration's path in the shim's environment; empty: options name it.
    init(_ lab: Lab, runtime: String = "") async throws {
        self.lab = lab
        self.runtime = runtime
        let server = RPCServer(eventLoop: loop, services: [Self.serviceName: answer])
        _ = try await server.listen(socket: try UnixSocket.listen(lab.directory + "/events.ttrpc").take())
    }

    func forward(
        _ request: Containerd_Services_Events_Ttrpc_V1_ForwardRequest, _ context: CallContext
    ) async throws -> Google_Protobuf_Empty {
        let event = request.envelope
        let end = try? Containerd_Events_TaskExit(serializedBytes: Array(event.event.value))
        let isExec = event.topic == "/tasks/exit" && end?.id != end?.containerID
        seen.withLock { $0.append(event.topic.dropFirst(7) + (isExec ? " of exec" : "")) }
        return Google_Protobuf_Empty()
    }

    /// The shim's events so far, in their order.
    var events: [String] { seen.withLock { $0 } }

    /// Waits until an event has arrived `count` times.
    func wait(for event: String, count: Int = 1) async throws {
        for _ in 0..<600 {
            if events.filter({ $0 == event }).count >= count { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw LabError(text: "no \(event) has come; there were: \(events)")
    }

    private func bundle(_ id: String) -> String { "\(lab.directory)/tasks/\(id)" }

    private func makeBundle(_ id: String, config: String?) throws {
        try Files.makeDirectory(bundle(id) + "/rootfs", mode: 0o711)
        if let config { try Files.write(bundle(id) + "/config.json", config) }
    }

    /// Shell commands that make a task's streams, and keep what comes out of them.
    private static let streams = "mkfifo out err in; cat out > written 3>&- & cat err > complaints 3>&- &"

    /// Makes the bundle of a further task of a sandbox, as containerd does where it runs no `start` for it.
    func task(_ id: String, in shim: Shim, config: String) throws -> Shim {
        try makeBundle(id, config: config)
        try Files.write(
            bundle(id) + "/bootstrap.json",
            #"{"version":3,"address":"unix://\#(shim.socket)","protocol":"ttrpc"}"#)
        try Files.write(bundle(id) + "/sandbox", shim.id)
        try lab.sh("cd \(bundle(id)); \(Self.streams)").check()
        return Shim(id: id, bundle: bundle(id), service: shim.service, socket: shim.socket, client: shim.client)
    }

    /// Runs the shim's `delete` in a bundle, as containerd does.
    func delete(_ id: String) throws {
        try lab.sh(
            "cd \(bundle(id)) && \(lab.binaries)/containerd-shim-kata-v2 -namespace moby -address \(lab.directory)/c.sock -id \(id) delete > /dev/null"
        ).check()
    }

    /// Runs the shim's `start` in a new bundle, and connects to the address that it prints.
    /// - Parameters:
    ///   - config: text of config.json; nil: there is none.
    ///   - input: bytes for its standard input.
    func shim(_ id: String, config: String?, input: [UInt8] = []) async throws -> Shim {
        let bundle = bundle(id)
        try makeBundle(id, config: config)
        try Files.write(bundle + "/input", input)
        // Opens both ends, as containerd does: a reader stays while there is a writer.
        try lab.sh(
            """
            cd \(bundle); mkfifo log; exec 3<> log 4< log; cat <&4 >> ../log 3>&- & exec 4<&-
            \(config == nil ? "" : Self.streams)
            TTRPC_ADDRESS=\(lab.directory)/events.ttrpc GRPC_ADDRESS=\(lab.directory)/c.sock NAMESPACE=moby MAX_SHIM_VERSION=3 \
            KATA_RUNTIME_CONFIG=\(runtime) \(lab.binaries)/containerd-shim-kata-v2 -namespace moby -address \(lab.directory)/c.sock \
                -publish-binary /usr/bin/containerd -id \(id) start < input > answer
            """
        ).check()
        let answer = try Files.read(bundle + "/answer")
        let text = String(decoding: answer, as: UTF8.self)
        var (service, address) = ("containerd.task.v2.Task", text)
        if !text.hasPrefix("unix://") {
            let result = try Containerd_Runtime_Bootstrap_V1_BootstrapResult(serializedBytes: answer)
            guard result.version == 3, result.protocol == "ttrpc" else { throw LabError(text: "\(result)") }
            (service, address) = ("containerd.task.v3.Task", result.address)
        }
        let path = String(address.dropFirst("unix://".count))
        return Shim(
            id: id, bundle: bundle, service: service, socket: path,
            client: try await RPCClient.connect(unixPath: path, on: loop))
    }

    /// The shim of a task.
    struct Shim: Sendable {
        let id: String
        let bundle: String
        let service: String
        let socket: String
        let client: RPCClient

        func call<Reply: Message>(_ method: String, _ request: some Message) async throws -> Reply {
            try await client.call(
                service, method, request, timeout: .seconds(60), metadata: ["containerd-namespace-ttrpc": ["moby"]])
        }

        func perform(_ method: String, _ request: some Message) async throws {
            let _: Google_Protobuf_Empty = try await call(method, request)
        }

        func create(
            rootfs: [Containerd_Types_Mount] = [], input: Bool = false, options: Google_Protobuf_Any? = nil
        ) async throws -> UInt32 {
            var request = Containerd_Task_V2_CreateTaskRequest()
            (request.id, request.bundle, request.rootfs) = (id, bundle, rootfs)
            (request.stdout, request.stderr) = (bundle + "/out", bundle + "/err")
            if input { request.stdin = bundle + "/in" }
            if let options { request.options = options }
            let reply: Containerd_Task_V2_CreateTaskResponse = try await call("Create", request)
            return reply.pid
        }

        func start(exec: String = "") async throws {
            var request = Containerd_Task_V2_StartRequest()
            (request.id, request.execID) = (id, exec)
            let _: Containerd_Task_V2_StartResponse = try await call("Start", request)
        }

        /// Waits for the end; returns the exit status.
        func wait(exec: String = "") async throws -> UInt32 {
            var request = Containerd_Task_V2_WaitRequest()
            (request.id, request.execID) = (id, exec)
            let reply: Containerd_Task_V2_WaitResponse = try await call("Wait", request)
            return reply.exitStatus
        }

        /// Waits for the end and deletes the process; returns the exit status.
        func delete(exec: String = "") async throws -> UInt32 {
            let end = try await wait(exec: exec)
            var request = Containerd_Task_V2_DeleteRequest()
            (request.id, request.execID) = (id, exec)
            let reply: Containerd_Task_V2_DeleteResponse = try await call("Delete", request)
            guard reply.exitStatus == end else { throw LabError(text: "\(end), then \(reply)") }
            return reply.exitStatus
        }

        func kill(_ signal: UInt32) async throws {
            var request = Containerd_Task_V2_KillRequest()
            (request.id, request.signal) = (id, signal)
            try await perform("Kill", request)
        }

        func state(exec: String = "") async throws -> Containerd_Task_V2_StateResponse {
            var request = Containerd_Task_V2_StateRequest()
            (request.id, request.execID) = (id, exec)
            return try await call("State", request)
        }

        func shutdown() async throws {
            var request = Containerd_Task_V2_ShutdownRequest()
            request.id = id
            try await perform("Shutdown", request)
        }

        /// The program's output so far.
        var output: String { (try? Files.readText(bundle + "/written")) ?? "" }

        /// Waits until the program has written a line.
        func wait(for line: String, in file: String = "written") async throws {
            for _ in 0..<200 {
                let output = (try? Files.readText(bundle + "/" + file)) ?? ""
                if output.split(separator: "\n").contains(where: { $0 == line }) { return }
                try await Task.sleep(for: .milliseconds(50))
            }
            throw LabError(text: "no \"\(line)\" in: \(output)\((try? Files.readText(bundle + "/complaints")) ?? "")")
        }
    }
}

extension Lab {
    /// Runs a test with many waits on a new thread: between two waits, shells of other suites would take the common
    /// ones.
    static func apart(_ body: @Sendable () async throws -> Void) async throws {
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do { try await withTaskExecutorPreference(LoopExecutor(threads.next())) { try await body() } } catch {
            try await threads.shutdownGracefully()
            throw error
        }
        try await threads.shutdownGracefully()
    }
}

extension Google_Protobuf_Any {
    /// A message as containerd wraps it: the type's name has no domain.
    init(plain message: some Message) throws {
        self.init()
        typeURL = type(of: message).protoMessageName
        value = try message.serializedBytes()
    }

    /// A type of the specification, sent as JSON.
    init(specification name: String, json: String) {
        self.init()
        typeURL = "types.containerd.io/opencontainers/runtime-spec/1/" + name
        value = Data(json.utf8)
    }
}

extension Containerd_Types_Mount {
    init(_ type: String, _ source: String, _ options: [String]) {
        self.init()
        (self.type, self.source, self.options) = (type, source, options)
    }
}
