import AgentAPI
import CLinux
import Container
import EventLoop
import Glibc
import GuestNetwork
import GuestStorage
import LinuxKernel
import OCISpec
import SwiftProtobuf
import TTRPC

/// The life of a container.
extension Service {
    func createContainer(_ request: Grpc_CreateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let id = request.containerID
            guard !id.isEmpty, !id.contains("/") else {
                throw RPCError(.invalidArgument, "\"\(id)\" is no container id")
            }
            var specification = try request.specification()
            if request.sandboxPidns { try joinProcesses(&specification) }
            try findNamespaces(&specification)
            try await attach(request.devices, to: &specification)
            var plan = try ContainerPlan(specification, container: id)
            // Compiled here, once for all processes: the stages need no rules.
            let seccomp = plan.seccomp
            plan.seccomp = nil
            let free = guest.state.withLock { state in
                state.containers[id] == nil && state.pending.insert(id).inserted
            }
            guard free else { throw RPCError(.alreadyExists, "container \(id) exists already") }
            defer { _ = guest.state.withLock { $0.pending.remove(id) } }
            let cgroup = Cgroup(plan.cgroup)
            let ports = StreamPorts(
                stdin: request.stdinPort, stdout: request.stdoutPort, stderr: request.stderrPort)
            var mounted: [String] = []
            var sockets: [GuestSocket] = []
            do {
                for storage in request.storages {
                    if storage.driver == SocketRelay.driver {
                        sockets.append(try GuestSocket(storage, relay: guest.relay))
                        continue
                    }
                    try await blocking("mount") { [guest] in
                        guard !SharedMounts.isShared(storage) else { return try guest.sharedMounts.mount(storage) }
                        Modules.wait()
                        try StorageMounter.mount(storage, hotPlugTimeout: Self.hotPlugTimeout)
                    }
                    mounted.append(storage.mountPoint)
                }
                let (process, filter) = try await blocking("create") { [guest, plan] in
                    let filter = try seccomp.map { seccomp throws in try SeccompFilter(seccomp) }
                    if plan.mayNeedModules { Modules.wait() }
                    try cgroup.create(plan.limits)
                    try cgroup.apply(plan.deviceFilter)
                    let process = try GuestProcess(.container(plan), in: guest, filter: filter, ports: ports)
                    return (process, filter)
                }
                var processes = [id: process]
                if !request.execID.isEmpty { processes[request.execID] = process }
                let record = Guest.ContainerRecord(
                    plan: plan, filter: filter, cgroup: cgroup, processes: processes, initial: process,
                    mounts: mounted, sockets: sockets)
                let hooks = guest.state.withLock { state in
                    state.containers[id] = record
                    state.first = state.first ?? id
                    return state.hooks
                }
                guest.oom.add(id, cgroup)
                await hooks.run("prestart", record.hookState(.created), reaper: guest.reaper)
            } catch {
                let (undone, unused) = (mounted, sockets)
                try? await blocking("clean") { [guest] in
                    for socket in unused { socket.close() }
                    cgroup.remove()
                    for path in undone.reversed() where !guest.sharedMounts.release(path) { Mounts.detach(path) }
                }
                throw error
            }
            return Google_Protobuf_Empty()
        }
    }

    /// Puts the guest's disks in the place of the host's.
    private func attach(_ devices: [Grpc_Device], to specification: inout OCISpec.Spec) async throws {
        for device in devices {
            let disk = try await blocking("disk") {
                Modules.wait()
                return try StorageMounter.find(device, hotPlugTimeout: Self.hotPlugTimeout)
            }
            specification.replace(device: device.containerPath, by: disk)
        }
    }

    /// A container whose names are resolved at an address of the host's side finds somebody there.
    private static func serveNames(for plan: ContainerPlan, _ guest: Guest) throws {
        guard let path = plan.mounts.last(where: { $0.destination == "/etc/resolv.conf" })?.source,
            let text = try? Files.readText(path), NameRelay.isNeeded(by: text)
        else { return }
        try guest.state.withLock { state in
            guard !state.servesNames else { return }
            try DNSForwarder.start(relay: guest.relay)
            state.servesNames = true
        }
    }

    /// The pid namespace is that of the sandbox's first container.
    private func joinProcesses(_ specification: inout OCISpec.Spec) throws(RPCError) {
        guard let first = guest.state.withLock({ $0.first }), let record = try? guest.container(first),
            record.initial.status == nil
        else { throw RPCError(.failedPrecondition, "sandbox_pidns: the sandbox's first container does not run") }
        var namespaces = specification.linux?.namespaces ?? []
        namespaces.removeAll { $0.type == "pid" }
        namespaces.append(OCISpec.Linux.Namespace(type: "pid", path: "/proc/\(record.initial.pid)/ns/pid"))
        specification.linux?.namespaces = namespaces
    }

    /// Namespaces of other containers are those of their first processes.
    private func findNamespaces(_ specification: inout OCISpec.Spec) throws(RPCError) {
        for (index, namespace) in (specification.linux?.namespaces ?? []).enumerated() {
            guard let other = namespace.path.flatMap(ContainerNamespace.container) else { continue }
            guard let record = try? guest.container(other), record.initial.status == nil else {
                throw RPCError(
                    .failedPrecondition,
                    "linux.namespaces[\(index)].path: container \(other), whose \(namespace.type) namespace it is, does not run"
                )
            }
            specification.linux?.namespaces?[index].path =
                "/proc/\(record.initial.pid)/ns/\(nameInProc(namespace.type))"
        }
    }

    /// What proc(5) calls a kind of namespace of the specification.
    private func nameInProc(_ type: String) -> String {
        switch type {
        case "mount": "mnt"
        case "network": "net"
        default: type
        }
    }

    func startContainer(_ request: Grpc_StartContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let record = try guest.container(request.containerID)
            let limit = record.plan.startHooks.limitSeconds
            try await blocking("start") { [guest] in
                // Managers write /etc/resolv.conf and /etc/hosts until now: what of them is in the cache may be a second old.
                for mount in record.plan.mounts where mount.isBind && Files.kind(of: mount.source) == .file {
                    _ = clx_refresh(mount.source)
                }
                try Self.serveNames(for: record.plan, guest)
                try record.initial.start(hookSeconds: limit)
            }
            let hooks = guest.state.withLock { $0.hooks }
            await hooks.run("poststart", record.hookState(.running), reaper: guest.reaper)
            return Google_Protobuf_Empty()
        }
    }

    func removeContainer(_ request: Grpc_RemoveContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let record = try guest.container(request.containerID)
            guest.oom.remove(request.containerID)
            try? record.cgroup.killAll()
            try await blocking("remove") { [guest] in
                record.cgroup.remove()
                for socket in record.sockets { socket.close() }
                for path in record.mounts.reversed() where !guest.sharedMounts.release(path) {
                    // Whoever still has it open: the host may take the disk away now.
                    Files.sync(path)
                    Mounts.detach(path)
                    rmdir(path)
                }
            }
            for process in record.processes.values { process.streams.release() }
            let hooks = guest.state.withLock { state in
                state.containers[request.containerID] = nil
                // The next one is the first again.
                if state.containers.isEmpty { state.first = nil }
                return state.hooks
            }
            await hooks.run("poststop", record.hookState(.stopped), reaper: guest.reaper)
            return Google_Protobuf_Empty()
        }
    }

    func pauseContainer(_ request: Grpc_PauseContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await freeze(request.containerID, true)
    }

    func resumeContainer(_ request: Grpc_ResumeContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await freeze(request.containerID, false)
    }

    private func freeze(_ container: String, _ frozen: Bool) async throws -> Google_Protobuf_Empty {
        try await guest.answering {
            try guest.container(container).cgroup.freeze(frozen)
            return Google_Protobuf_Empty()
        }
    }

    func updateContainer(_ request: Grpc_UpdateContainerRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            var resources = try request.limits()
            let record = try guest.container(request.containerID)
            if let swap = resources.memory?.swap, swap > 0, (resources.memory?.limit ?? 0) == 0 {
                // It counts the memory too, whose limit stays as it is.
                resources.memory?.limit = Int64(clamping: record.cgroup.number("memory.max") ?? 0)
            }
            if resources.cpu?.period ?? 0 != 0, resources.cpu?.quota ?? 0 == 0 {
                resources.cpu?.quota = record.cgroup.quota
            }
            if let rules = resources.devices, DeviceFilter(rules) != record.plan.deviceFilter {
                throw RPCError(
                    .invalidArgument, "resources.devices: the rules of a container can't be changed while it is there")
            }
            let settings = try CgroupLimits.settings(resources)
            if resources.memory?.checkBeforeUpdate ?? false, let limit = resources.memory?.limit, limit > 0,
                let used = record.cgroup.number("memory.current"), used > UInt64(limit)
            {
                throw RPCError(
                    .failedPrecondition, "resources.memory.limit: \(limit) is below the \(used) bytes in use")
            }
            try record.cgroup.apply(settings)
            return Google_Protobuf_Empty()
        }
    }

    func getOOMEvent(_ request: Grpc_GetOOMEventRequest, _ context: CallContext) async throws -> Grpc_OOMEvent {
        var event = Grpc_OOMEvent()
        event.containerID = await guest.oom.next()
        return event
    }

    func statsContainer(_ request: Grpc_StatsContainerRequest, _ context: CallContext) async throws
        -> Grpc_StatsContainerResponse
    {
        try await guest.answering {
            ContainerStats.read(try guest.container(request.containerID).cgroup)
        }
    }
}
