import Cgroups
import Cleanup
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import Pod
import SandboxCgroups

/// A container's process on the host: the attach process of the command line, or a placeholder.
extension Sandbox {
    /// Makes a placeholder where there is no attach process, and moves the process into the container's cgroup.
    /// - Returns: the move, which waits for an RCU grace period; nil where the host allows no cgroups.
    func makeHostProcess(for record: Container, _ request: ContainerRequest) throws -> BackgroundCall<Void>? {
        if let process = request.attachProcess {
            record.hostProcess = process
        } else {
            makePlaceholder(for: record)
        }
        guard let process = record.hostProcess, let cgroups = binding.cgroups else { return nil }
        let group = try makeCgroup(of: record, request, cgroups.machine.hierarchies)
        return try BackgroundCall("cgroup", on: loop) {
            // First: in hierarchies where the container has none of its own, the process is with the machine.
            try cgroups.machine.add(process)
            try group?.add(process)
        }
    }

    /// Waits for the move of a container's process. A container is created without it where the host allows none.
    func entered(_ move: BackgroundCall<Void>?, _ container: String) async throws {
        do { try await move?.result() } catch {
            log.warning(
                "the container's process on the host is not in its cgroup",
                metadata: ["container": "\(container)", "error": "\(error)"])
        }
    }

    /// A container without a placeholder has the hypervisor's pid, as Kata's containers do.
    private func makePlaceholder(for record: Container) {
        let container = record.key
        let events = Placeholder.Events(
            signalled: { [weak self, executor] number in
                Task(executorPreference: executor) { await self?.placeholder(of: container, got: number) }
            },
            killed: { [weak self, executor] in
                Task(executorPreference: executor) { _ = await self?.hostProcessEnded(container) }
            })
        do {
            let placeholder = try Placeholder(
                of: record.id, network: network?.namespace.path, ledger: ledger, events: events)
            (record.placeholder, record.hostProcess) = (placeholder, placeholder.pid)
        } catch {
            log.warning(
                "the container has no process of its own on the host: managers see the hypervisor's",
                metadata: ["container": "\(record.id)", "error": "\(error)"])
        }
    }

    /// Makes the cgroup that the specification names.
    ///
    /// The kubelet takes a cgroup of a pod's container for all that the container uses, in place of the figures that
    /// containerd tells it. For such a container it is made only where it hides none.
    /// - Returns: nil where none is named, or the host allows none.
    private func makeCgroup(
        of record: Container, _ request: ContainerRequest, _ hierarchies: Hierarchies
    ) throws -> Cgroup? {
        guard let path = Cgroup.path(ofContainer: request.spec.linux?.cgroupsPath ?? "") else { return nil }
        let isMeasured = PodRole(request.spec) != .none && request.attachProcess == nil
        let group = Cgroup(path, isMeasured ? hierarchies.unmeasured : hierarchies)
        record.cgroup = (group, try ledger.add(.containerCgroup(path: path)))
        do { try group.make() } catch {
            guard SandboxCgroups.areRefused(by: error) else { throw error }
            return nil
        }
        return group
    }

    /// Ends a container's placeholder and removes its cgroup. An attach process ends by itself.
    func removeHostProcess(of record: Container) async {
        await record.placeholder?.end(on: loop)
        guard let (group, id) = record.cgroup else { return }
        record.cgroup = nil
        let (attached, ledger) = (record.attachProcess, ledger)
        try? await blocking("cgroup") {
            if let attached { group.leave(attached) }
            ledger.undo(id)
        }
    }

    /// Records the end of a process. A container's process on the host ends first, so that a manager that learns of
    /// the end finds no process with that pid any more. Nothing reads the process's input any more.
    func end(_ process: ContainerProcess, of record: Container?, status: Int32) async {
        process.endInput(parts.relay)
        if process.id.isEmpty { await record?.placeholder?.end(on: loop) }
        process.end(status: status)
    }

    // MARK: Events

    /// Kills a container whose process on the host has ended before it.
    /// - Returns: whether the container was never started.
    @discardableResult
    package func hostProcessEnded(_ container: ContainerKey) async -> Bool {
        guard let record = present(container), record.initial.ended == nil else { return false }
        let wasStarted = record.initial.state != .created
        await kill(record, all: wasStarted)
        return !wasStarted
    }

    /// Whether this is the sandbox's only container.
    package func hasOnly(_ container: ContainerKey) -> Bool { containers.count == 1 && present(container) != nil }

    /// Passes a signal on to the container's program.
    private func placeholder(of container: ContainerKey, got number: Int32) async {
        guard present(container)?.initial.state == .running else { return }
        try? await signal(number, container: container.id)
    }

    // MARK: For managers

    /// The pid that managers see for a container or a standalone sandbox: the hypervisor's where it has no process of
    /// its own.
    package func pid(of container: String) -> Int32 {
        containers[container]?.hostProcess ?? (container == id ? ownProcess?.pid : nil) ?? pid
    }

    func pid(of record: Container) -> Int32 { record.hostProcess ?? pid }

    /// The pids of a container's processes on the host: none when it has ended.
    /// - Throws: `SandboxError` (`notFound`) without such a container.
    package func pids(of container: String) throws -> [Int32] {
        try self.container(container).initial.ended == nil ? [pid(of: container)] : []
    }

    /// The containers by their processes on the host, whose namespaces managers name.
    package var known: [SandboxMembership.Known] {
        containers.values.map {
            .init(id: $0.id, sandbox: id, process: $0.initial.ended == nil ? $0.hostProcess : nil)
        }
    }
}
