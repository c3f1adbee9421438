import AgentAPI
import Container
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import Synchronization
import TTRPC

/// A container: its plan, what its creation has acquired, and its processes.
final class GuestContainer: Sendable {
    /// All inputs of a container's creation.
    struct Request: Sendable {
        var plan: ContainerPlan
        /// Limits of the cgroup above the container's.
        var podLimits: [ContainerPlan.Setting] = []
        /// Disks, memory and sockets, in the order in which they are set up.
        var storages: [Grpc_Storage] = []
        /// Another name of the first process; empty for none.
        var execID = ""
        var ports = StreamPorts()
    }

    let plan: ContainerPlan
    /// Compiled once for all processes; nil without a filter.
    let filter: SeccompFilter?
    let cgroup: Cgroup
    let initial: GuestProcess
    private let kernel: any GuestKernel
    /// Mounts in the order in which they were made.
    private let mounts: [String]
    private let sockets: [any RelayedSocket]

    private struct Processes: Sendable {
        /// Processes by exec id; the first process by the container's id too. nil: being started.
        var byID: [String: GuestProcess?] = [:]
        var areReleased = false
    }
    private let processes: Mutex<Processes>

    var id: String { plan.state.id }

    private init(
        _ request: Request, filter: SeccompFilter?, cgroup: Cgroup, initial: GuestProcess, mounts: [String],
        sockets: [any RelayedSocket], kernel: any GuestKernel
    ) {
        plan = request.plan
        (self.filter, self.cgroup, self.initial, self.kernel) = (filter, cgroup, initial, kernel)
        (self.mounts, self.sockets) = (mounts, sockets)
        var byID: [String: GuestProcess?] = [request.plan.state.id: initial]
        if !request.execID.isEmpty { byID[request.execID] = initial }
        processes = Mutex(Processes(byID: byID))
    }

    /// Sets up storages, filter, cgroup and the first process, in this order. A failure undoes what was done, the last
    /// first.
    /// - Throws: `RPCError`, `PlanError`, `SystemError` or `InitError` of the step that failed.
    static func create(_ request: Request, on kernel: any GuestKernel) async throws -> GuestContainer {
        try await withUndo { undo in
            var request = request
            let id = request.plan.state.id
            let plan = request.plan
            try await blocking("enter shares") { kernel.enterShares(of: plan) }
            undo.add { try? await blocking("undo") { kernel.leaveShares(of: plan) } }
            let storages = try await setUp(request.storages, of: id, on: kernel, &undo)
            // Compiled here, once for all processes: their init needs no rules.
            let seccomp = request.plan.seccomp
            request.plan.seccomp = nil
            let cgroup = kernel.cgroup(of: request.plan)
            undo.add { try? await blocking("undo") { kernel.remove(cgroup) } }
            let (filter, process) = try await blocking("create") { [request] in
                log.debug("compile filter", ["container": id, "rules": "\(seccomp?.rules.count ?? 0)"])
                let filter = try seccomp.map { seccomp throws in try SeccompFilter(seccomp) }
                log.debug("make cgroup", ["container": id, "path": cgroup.path])
                try kernel.create(cgroup, for: request.plan)
                try cgroup.applyToPod(request.podLimits)
                log.debug("launch", ["container": id])
                let process = try kernel.launch(.container(request.plan), filter: filter, ports: request.ports)
                log.debug("launched", ["container": id, "pid": "\(process.pid)"])
                // The kernel does this for a pid namespace of the container's own, but not for a joined one.
                process.beforeExitIsReported { try? cgroup.killAll() }
                return (filter, process)
            }
            return GuestContainer(
                request, filter: filter, cgroup: cgroup, initial: process, mounts: storages.mounts,
                sockets: storages.sockets, kernel: kernel)
        }
    }

    private static func setUp(
        _ storages: [Grpc_Storage], of id: String, on kernel: any GuestKernel, _ undo: inout UndoStack
    ) async throws -> (mounts: [String], sockets: [any RelayedSocket]) {
        var mounts: [String] = []
        var sockets: [any RelayedSocket] = []
        for storage in storages {
            let place = storage.mountPoint
            log.debug("set up storage", ["container": id, "driver": storage.driver, "at": place])
            if storage.driver == SocketRelay.driver {
                let socket = try kernel.listen(storage)
                undo.add { socket.close() }
                sockets.append(socket)
            } else {
                try await blocking("mount") { try kernel.mountForContainer(storage) }
                undo.add { try? await blocking("undo") { kernel.unmountForContainer(place) } }
                mounts.append(place)
            }
        }
        return (mounts, sockets)
    }

    /// Kills all processes and releases all resources. Blocks.
    func release() {
        let ended = processes.withLock { processes in
            defer { processes = Processes(areReleased: true) }
            return processes.byID.values.compactMap { $0 }
        }
        try? cgroup.killAll()
        kernel.remove(cgroup)
        for socket in sockets { socket.close() }
        for mount in mounts.reversed() { kernel.unmountForContainer(mount) }
        kernel.leaveShares(of: plan)
        for process in ended { process.streams.release() }
    }

    /// The state that hooks of the guest's image read.
    func hookState(_ status: OCISpec.State.Status) -> OCISpec.State {
        var state = plan.state
        state.status = status
        state.pid = status == .stopped ? 0 : initial.pid
        return state
    }

    // MARK: Processes

    /// - Parameter exec: an exec id, or empty for the first process.
    /// - Throws: `notFound`.
    func process(_ exec: String) throws(RPCError) -> GuestProcess {
        guard let process = processes.withLock({ $0.byID[exec.isEmpty ? id : exec] ?? nil }) else {
            throw RPCError(.notFound, "process \(exec) of container \(id) does not exist")
        }
        return process
    }

    /// Takes an exec id, starts a further process and gives it that id.
    /// - Throws: `alreadyExists`; `failedPrecondition` when the container has ended or is removed meanwhile.
    func exec(_ exec: String, _ plan: ExecPlan, ports: StreamPorts) async throws {
        let isFree = processes.withLock { processes in
            guard !exec.isEmpty, processes.byID[exec] == nil else { return false }
            processes.byID[exec] = .some(nil)
            return true
        }
        guard isFree else { throw RPCError(.alreadyExists, "process \(exec) of container \(id) exists already") }
        try await withUndo { undo in
            undo.add { [self] in forget(exec) }
            guard initial.status == nil else { throw RPCError(.failedPrecondition, "container \(id) has ended") }
            let launch = Launch.exec(plan, target: initial.pid, cgroup: cgroup)
            let process = try await blocking("exec") { [kernel, filter] in
                let process = try kernel.launch(launch, filter: filter, ports: ports)
                try process.start()
                return process
            }
            log.debug("exec runs", ["container": id, "exec": exec, "pid": "\(process.pid)"])
            let isAdded = processes.withLock { processes in
                guard !processes.areReleased else { return false }
                processes.byID[exec] = process
                return true
            }
            guard isAdded else {
                try? process.signal(SIGKILL)
                process.streams.release()
                throw RPCError(.failedPrecondition, "container \(id) was removed")
            }
        }
    }

    /// Frees the id of a further process.
    func forget(_ exec: String) {
        _ = processes.withLock { $0.byID.removeValue(forKey: exec) }
    }
}
