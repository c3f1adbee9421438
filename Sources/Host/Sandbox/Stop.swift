import AgentAPI
import Cleanup
import LinuxKernel
import TTRPC

extension Sandbox {
    /// Ends the VM and removes everything of the sandbox from the host. Idempotent.
    package func stop() async {
        guard state != .gone, state != .stopping else { return }
        state = .stopping
        // Meanwhile: the group of a process that is in it can't be removed.
        let left = await leaveGroup()
        var grace = Duration.zero
        if let connection {
            let agent = AgentServiceClient(client: connection)
            // A guest that has answered has unmounted and written everything: nothing is left that its power-off could do.
            do {
                _ = try await ask(agent, within: Deadline.farewell.limit) {
                    try await $0.destroySandbox(Grpc_DestroySandboxRequest(), timeout: $1)
                }
            } catch let error as RPCError where error.code != .deadlineExceeded {
                grace = Deadline.powerOff.limit
            } catch {}
            await connection.close()
        }
        debugConsole?.close()
        // Beside the machine, unless that is to end by itself: it would need its files.
        if grace == .zero { share?.stop() }
        await machine?.stop(timeout: grace)
        await network?.close()
        for record in containers.values { withdrawSockets(of: record) }
        greeter?.stop()
        share?.stop()
        dialer?.close()
        relay?.stop()
        for container in containers.values { await container.hooks?.afterDeletion(log) }
        logs?.stop()
        try? await left?.result()
        ledger.undo(after: beginning)
        state = .gone
    }
}
