import AgentAPI
import Ledger

extension Sandbox {
    /// Ends the VM and removes everything of the sandbox from the host. Idempotent.
    package func stop() async {
        guard state != .gone, state != .stopping else { return }
        state = .stopping
        var grace = Duration.zero
        if let connection {
            let agent = AgentServiceClient(client: connection)
            // A guest that has answered has unmounted and written everything: nothing is left that its power-off could do.
            let answer = try? await agent.destroySandbox(Grpc_DestroySandboxRequest(), timeout: .seconds(2))
            grace = answer == nil ? .seconds(1) : .zero
            await connection.close()
        }
        await machine?.stop(timeout: grace)
        await network?.close()
        share?.stop()
        dialer?.close()
        relay?.stop()
        ledger.undo(after: beginning)
        state = .gone
    }
}
