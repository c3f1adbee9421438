import Configuration
import EventLoop
import Glibc
import LinuxKernel
import Logging
import NIOCore
import OCISpec
import Sandbox
import ShimAPI
import SwiftProtobuf
import TTRPC

/// containerd's task API over one sandbox (containerd.task.v2 and v3).
package final class ContainerdTasks: TaskService, Sendable {
    /// In a Create's metadata: the process that stands for the container where the manager watches one, in its network namespace.
    package static let processKey = "kata-process"
    /// In a Create's metadata: namespaces that are another container's of the sandbox, each as `ipc=<container>`.
    package static let joinsKey = "kata-joins"

    private let sandboxes: SandboxHolder
    private let events: EventPublisher
    private let log: Logger
    private let shutdownRequested: @Sendable () -> Void
    /// Takes away what a manager keeps of a container between its calls, where that is ours.
    private let forget: @Sendable (_ container: String) -> Void

    package init(
        sandboxes: SandboxHolder, events: EventPublisher, log: Logger,
        forget: @escaping @Sendable (_ container: String) -> Void = { _ in },
        shutdownRequested: @escaping @Sendable () -> Void
    ) {
        self.sandboxes = sandboxes
        self.events = events
        self.log = log
        self.forget = forget
        self.shutdownRequested = shutdownRequested
    }

    package func create(_ request: Containerd_Task_V2_CreateTaskRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_CreateTaskResponse
    {
        try await answering {
            try Identifier.check(request.id, "container id")
            guard request.bundle.hasPrefix("/") else {
                throw SandboxError(.invalid, "bundle \"\(request.bundle)\" is not an absolute path")
            }
            let spec = try Spec.load(bundle: request.bundle)
            let process = context.metadata[Self.processKey]?.first.flatMap(Int32.init)
            let joins = (context.metadata[Self.joinsKey] ?? []).map {
                $0.split(separator: "=", maxSplits: 1).map(String.init)
            }
            let (sandbox, isNew) = try sandboxes.sandbox(for: request, spec: spec, process: process)
            let streams = StreamPaths(
                stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal)
            try await sandbox.reserve(request.id, bundle: request.bundle, streams: streams)
            do {
                if isNew {
                    try await sandboxes.boot(sandbox)
                    announceOutOfMemory(in: sandbox)
                }
                let rootfs = try RootFilesystem.prepare(
                    request.rootfs, bundle: request.bundle, spec: spec, ledger: sandbox.ledger,
                    plugsDisks: sandbox.plan.plugsRootDisks)
                try await sandbox.createContainer(
                    request.id, bundle: request.bundle, rootfs: rootfs.source, spec: spec, process: process,
                    joins: Dictionary(joins.filter { $0.count == 2 }.map { ($0[0], $0[1]) }) { first, _ in first },
                    made: rootfs.made)
            } catch {
                await sandbox.release(request.id)
                throw error
            }
            let pid = UInt32(await sandbox.pid)
            var event = Containerd_Events_TaskCreate()
            event.containerID = request.id
            event.bundle = request.bundle
            event.rootfs = request.rootfs
            event.io.stdin = request.stdin
            event.io.stdout = request.stdout
            event.io.stderr = request.stderr
            event.io.terminal = request.terminal
            event.pid = pid
            events.publish("/tasks/create", event)
            var response = Containerd_Task_V2_CreateTaskResponse()
            response.pid = pid
            return response
        }
    }

    package func start(_ request: Containerd_Task_V2_StartRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StartResponse
    {
        try await answering {
            let sandbox = try sandboxes.current()
            try await sandbox.start(container: request.id, exec: request.execID)
            let pid = UInt32(await sandbox.pid)
            if request.execID.isEmpty {
                var event = Containerd_Events_TaskStart()
                event.containerID = request.id
                event.pid = pid
                events.publish("/tasks/start", event)
            } else {
                var event = Containerd_Events_TaskExecStarted()
                event.containerID = request.id
                event.execID = request.execID
                event.pid = pid
                events.publish("/tasks/exec-started", event)
            }
            // Published from here, after the start event: an exit can't overtake it.
            announceEnd(of: request.id, exec: request.execID, pid: pid, in: sandbox)
            sandboxes.trimWhenIdle()
            var response = Containerd_Task_V2_StartResponse()
            response.pid = pid
            return response
        }
    }

    /// Publishes /tasks/oom for as long as there is a guest.
    private func announceOutOfMemory(in sandbox: Sandbox) {
        sandboxes.detached { [events] in
            while let container = try? await sandbox.nextOutOfMemory() {
                var event = Containerd_Events_TaskOOM()
                event.containerID = container
                events.publish("/tasks/oom", event)
            }
        }
    }

    private func announceEnd(of container: String, exec: String, pid: UInt32, in sandbox: Sandbox) {
        sandboxes.detached { [events, sandboxes] in
            defer { sandboxes.trimWhenIdle() }
            guard let end = try? await sandbox.wait(container: container, exec: exec) else { return }
            var event = Containerd_Events_TaskExit()
            event.containerID = container
            event.id = exec.isEmpty ? container : exec
            event.pid = pid
            event.exitStatus = UInt32(bitPattern: end.status)
            event.exitedAt = Google_Protobuf_Timestamp(end.at)
            events.publish("/tasks/exit", event)
            if exec.isEmpty { await self.endWhenForgotten(sandbox) }
        }
    }

    /// Podman whose conmon was killed, and others too, remove a container that has ended without a word: nobody will ask for its
    /// deletion then. Its bundle tells.
    private func endWhenForgotten(_ sandbox: Sandbox) async {
        repeat {
            guard let left = await sandbox.ended else { return }
            if left.bundles.allSatisfy({ !Files.exists($0 + "/config.json") }) {
                log.warning(
                    "the bundles have gone without a deletion: the sandbox ends",
                    metadata: ["containers": "\(left.ids)"])
                await sandbox.stop()
                left.ids.forEach(forget)
                await events.flush(within: Deadline.event.limit)
                return shutdownRequested()
            }
        } while await sandboxes.pause(Deadline.forgotten.limit)
    }

    package func delete(_ request: Containerd_Task_V2_DeleteRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_DeleteResponse
    {
        try await answering {
            let sandbox = try sandboxes.current()
            let pid = UInt32(await sandbox.pid)
            let end = try await sandbox.delete(container: request.id, exec: request.execID)
            var event = Containerd_Events_TaskDelete()
            event.containerID = request.id
            event.id = request.execID
            event.pid = pid
            event.exitStatus = UInt32(bitPattern: end.status)
            event.exitedAt = Google_Protobuf_Timestamp(end.at)
            events.publish("/tasks/delete", event)
            var response = Containerd_Task_V2_DeleteResponse()
            response.pid = pid
            response.exitStatus = UInt32(bitPattern: end.status)
            response.exitedAt = Google_Protobuf_Timestamp(end.at)
            return response
        }
    }

    package func state(_ request: Containerd_Task_V2_StateRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StateResponse
    {
        try await answering {
            let sandbox = try sandboxes.current()
            let process = try await sandbox.report(container: request.id, exec: request.execID)
            var response = Containerd_Task_V2_StateResponse()
            response.id = request.id
            response.execID = request.execID
            response.bundle = process.bundle
            response.pid = UInt32(await sandbox.pid)
            response.stdin = process.streams.stdin
            response.stdout = process.streams.stdout
            response.stderr = process.streams.stderr
            response.terminal = process.streams.terminal
            switch process.state {
            case .created: response.status = .created
            case .running: response.status = process.paused ? .paused : .running
            case .stopped: response.status = .stopped
            }
            if let end = process.ended {
                response.exitStatus = UInt32(bitPattern: end.status)
                response.exitedAt = Google_Protobuf_Timestamp(end.at)
            }
            return response
        }
    }

    package func wait(_ request: Containerd_Task_V2_WaitRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_WaitResponse
    {
        try await answering {
            let end = try await sandboxes.current().wait(container: request.id, exec: request.execID)
            var response = Containerd_Task_V2_WaitResponse()
            response.exitStatus = UInt32(bitPattern: end.status)
            response.exitedAt = Google_Protobuf_Timestamp(end.at)
            return response
        }
    }

    package func kill(_ request: Containerd_Task_V2_KillRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            try await sandboxes.current().signal(
                Int32(request.signal), container: request.id, exec: request.execID, all: request.all)
            return Google_Protobuf_Empty()
        }
    }

    package func exec(_ request: Containerd_Task_V2_ExecProcessRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            try Identifier.check(request.execID, "exec id")
            let process = try OCISpec.Process.decode(json: Array(request.spec.value), source: "process.json")
            try await sandboxes.current().addExec(
                container: request.id, exec: request.execID, process: process,
                streams: StreamPaths(
                    stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal))
            var event = Containerd_Events_TaskExecAdded()
            event.containerID = request.id
            event.execID = request.execID
            events.publish("/tasks/exec-added", event)
            return Google_Protobuf_Empty()
        }
    }

    package func resizePty(_ request: Containerd_Task_V2_ResizePtyRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            try await sandboxes.current().resize(
                container: request.id, exec: request.execID, rows: request.height, columns: request.width)
            return Google_Protobuf_Empty()
        }
    }

    package func closeIO(_ request: Containerd_Task_V2_CloseIORequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            if request.stdin { try await sandboxes.current().closeInput(container: request.id, exec: request.execID) }
            return Google_Protobuf_Empty()
        }
    }

    package func pause(_ request: Containerd_Task_V2_PauseRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            try await sandboxes.current().pause(container: request.id)
            var event = Containerd_Events_TaskPaused()
            event.containerID = request.id
            events.publish("/tasks/paused", event)
            return Google_Protobuf_Empty()
        }
    }

    package func resume(_ request: Containerd_Task_V2_ResumeRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            try await sandboxes.current().resume(container: request.id)
            var event = Containerd_Events_TaskResumed()
            event.containerID = request.id
            events.publish("/tasks/resumed", event)
            return Google_Protobuf_Empty()
        }
    }

    package func update(_ request: Containerd_Task_V2_UpdateTaskRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await answering {
            let resources = try OCISpec.Linux.Resources.decode(
                json: Array(request.resources.value), source: "resources")
            try await sandboxes.current().update(container: request.id, resources: resources)
            return Google_Protobuf_Empty()
        }
    }

    package func stats(_ request: Containerd_Task_V2_StatsRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_StatsResponse
    {
        try await answering {
            var response = Containerd_Task_V2_StatsResponse()
            response.stats = try Metrics.message(try await sandboxes.current().stats(container: request.id))
            return response
        }
    }

    package func pids(_ request: Containerd_Task_V2_PidsRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_PidsResponse
    {
        try await answering {
            var response = Containerd_Task_V2_PidsResponse()
            var process = Containerd_Task_V2_ProcessInfo()
            process.pid = UInt32(await (try sandboxes.current()).pid)
            response.processes = [process]
            return response
        }
    }

    package func connect(_ request: Containerd_Task_V2_ConnectRequest, _ context: CallContext) async throws
        -> Containerd_Task_V2_ConnectResponse
    {
        var response = Containerd_Task_V2_ConnectResponse()
        response.shimPid = UInt32(getpid())
        if let sandbox = try? sandboxes.current() { response.taskPid = UInt32(await sandbox.pid) }
        response.version = "2"
        return response
    }

    package func shutdown(_ request: Containerd_Task_V2_ShutdownRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        if let sandbox = try? sandboxes.current() {
            guard await sandbox.isEmpty || request.now else { return Google_Protobuf_Empty() }
            await sandbox.stop()
        }
        await sandboxes.dropSpare()
        await events.flush(within: Deadline.event.limit)
        shutdownRequested()
        return Google_Protobuf_Empty()
    }
}

extension Google_Protobuf_Timestamp {
    init(_ time: timespec) {
        self.init()
        seconds = Int64(time.tv_sec)
        nanos = Int32(time.tv_nsec)
    }
}
