import AgentAPI
import Glibc
import LinuxKernel

extension Sandbox {
    /// Removes an ended process; for a container's first process, the whole container.
    /// - Returns: the process's end; status 0 for one that was never started.
    /// - Throws: `SandboxError` when the process runs or does not exist.
    package func delete(container: String, exec: String = "") async throws -> ContainerProcess.End {
        await containers[container]?.creating?.wait()
        let record = try self.container(container)
        let process = try record.process(exec)
        guard process.state == .created || process.state == .stopped else {
            throw SandboxError(.wrongState, "container \(container) is \(process.state.rawValue); stop it first")
        }
        let end = process.ended ?? ContainerProcess.End(status: 0, at: timespec())
        if exec.isEmpty {
            await remove(record)
        } else {
            record.processes[exec] = nil
            // For those that wait for a process that was never started.
            abandonOutput(of: process)
            process.end(status: ProcessExit.killed.status)
        }
        return end
    }

    /// Removes a container that no one has started or ended.
    /// - Returns: whether it was there.
    package func discard(_ container: String) async -> Bool {
        guard containers[container]?.initial.state == .created else { return false }
        return (try? await delete(container: container)) != nil
    }

    private func remove(_ record: Container) async {
        if let removal = record.removal { return await removal.wait() }
        let removal = OneShot<Void>()
        record.removal = removal
        defer { removal.complete(()) }
        let request = Grpc_RemoveContainerRequest.with {
            $0.containerID = record.id
            $0.timeout = Self.guestRemovalSeconds
        }
        if let agent = try? agent() {
            _ = try? await ask(agent, within: Deadline.removal.limit) {
                try await $0.removeContainer(request, timeout: $1)
            }
        }
        withdrawSockets(of: record)
        sharedPaths.release(&record.shares)
        memory.release(&record.memories)
        // A failed creation may have freed the name meanwhile, for another container.
        if containers[record.id] === record { containers[record.id] = nil }
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

    /// The time that the agent waits for the container's processes.
    private static let guestRemovalSeconds: UInt32 = 10
}
