import AgentAPI
import Cleanup
import EventLoop
import LinuxKernel
import TTRPC

extension Sandbox {
    /// Ends the VM and removes everything of the sandbox from the host. Idempotent: later calls wait for the first.
    /// - Parameter last: the sandbox's last record, where the ledger has later ones of another sandbox; nil: there are
    ///   none.
    package func stop(upTo last: Ledger.RecordID? = nil) async {
        if state == .stopping { return await stopped.wait() }
        guard state != .gone else { return }
        state = .stopping
        binding.noteRefusedTasks()
        start?.cancel()
        let parts = parts
        // In the background: a cgroup with processes in it can't be removed.
        let left = await leaveCgroup()
        var grace = Duration.zero
        if let connection = parts.connection {
            grace = await sayGoodbye(AgentServiceClient(client: connection))
            await connection.close()
        }
        debugConsole?.close()
        forwards.refuse()
        await parts.endMachine(grace: grace)
        await network?.close()
        for container in containers.values { withdrawSockets(of: container) }
        forwards.stop()
        parts.close()
        await ownProcess?.end(on: loop)
        for container in containers.values {
            await removeHostProcess(of: container)
            await container.hooks?.afterDeletion(log)
        }
        sharedPaths.stop()
        try? await left?.result()
        // In the background: processes may take long to leave their cgroups.
        try? await blocking("cleanup") { [ledger, beginning] in
            ledger.undo(after: parts.beginning ?? beginning, upTo: last)
        }
        state = .gone
        endsWith(0)
        stopped.complete(())
    }

    /// Lets the guest end its containers and write everything.
    /// - Returns: how long the machine may take to power off. A guest that has answered has unmounted everything, and
    ///   loses nothing when it is killed.
    private func sayGoodbye(_ agent: AgentServiceClient) async -> Duration {
        do {
            _ = try await ask(agent, within: Deadline.farewell.limit) {
                try await $0.destroySandbox(Grpc_DestroySandboxRequest(), timeout: $1)
            }
        } catch let error as RPCError where error.code != .deadlineExceeded {
            return Deadline.powerOff.limit
        } catch {}
        return .zero
    }
}
