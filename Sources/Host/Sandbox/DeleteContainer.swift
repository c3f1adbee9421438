import AgentAPI
import Glibc
import LinuxKernel

/// A process that was deleted.
package struct DeletedProcess: Sendable {
    /// The container's pid, as managers saw it.
    package let pid: Int32
    package let end: ContainerProcess.End
    package var status: Int32 { end.status }
}

extension Sandbox {
    /// Removes an ended process; for a container's first process, the whole container.
    /// - Returns: the process's end; status 0 for one that was never started.
    /// - Throws: `SandboxError` when the process runs or does not exist.
    package func delete(container: String, exec: String = "") async throws -> DeletedProcess {
        try await delete(exec, of: try self.container(container))
    }

    private func delete(_ exec: String, of record: Container) async throws -> DeletedProcess {
        await record.creating?.wait()
        // A creation that has failed frees the name.
        guard present(record.key) != nil else {
            throw SandboxError(.notFound, "container \(record.id) does not exist")
        }
        let process = try record.process(exec)
        guard process.state == .created || process.state == .stopped else {
            throw SandboxError(.wrongState, "container \(record.id) is \(process.state.rawValue); stop it first")
        }
        let end = process.ended ?? ContainerProcess.End(status: 0, at: timespec())
        let deleted = DeletedProcess(pid: pid(of: record), end: end)
        if exec.isEmpty {
            await remove(record)
        } else {
            record.processes[exec] = nil
            // For those that wait for a process that was never started.
            abandonOutput(of: process)
            process.end(status: ProcessExit.killed.status)
        }
        return deleted
    }

    /// Removes a container that no one has started. It may have been killed meanwhile, even before it was created.
    /// - Returns: whether it was there.
    package func discard(_ key: ContainerKey) async -> Bool {
        guard let record = present(key), !record.initial.wasStarted else { return false }
        return (try? await delete("", of: record)) != nil
    }

    private func remove(_ record: Container) async {
        if let removal = record.removal { return await removal.wait() }
        let removal = OneShot<Void>()
        record.removal = removal
        defer { removal.complete(()) }
        try? await removeFromGuest(record.id)
        withdrawSockets(of: record)
        sharedPaths.release(&record.shares, servers: parts.serverProcesses)
        memory.release(&record.memories)
        heldNames.hold(record.id)
        defer { heldNames.free(record.id) }
        containers[record.id] = nil
        oomReports.forget(record.id)
        for process in record.processes.values { abandonOutput(of: process) }
        await releaseDisks(of: record)
        await removeHostProcess(of: record)
        for process in record.processes.values where process.state != .running {
            process.end(status: ProcessExit.killed.status)
        }
        shrinkMachine()
        await record.hooks?.afterDeletion(log)
    }

    /// Kills a container's processes in the guest, and removes it there.
    /// - Throws: `SandboxError` (`wrongState`) for a sandbox that is not ready. `RPCError` with the agent's refusal,
    ///   `deadlineExceeded` without its answer, or `unavailable` without a machine.
    func removeFromGuest(_ container: String) async throws {
        let request = Grpc_RemoveContainerRequest.with {
            $0.containerID = container
            $0.timeout = Self.guestRemovalSeconds
        }
        _ = try await ask(try agent(), within: Deadline.removal.limit) {
            try await $0.removeContainer(request, timeout: $1)
        }
    }

    /// The time that the agent waits for the container's processes.
    private static let guestRemovalSeconds: UInt32 = 10
}
