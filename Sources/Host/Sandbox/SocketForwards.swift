import AgentAPI
import GuestSpec
import SocketForward

extension Sandbox {
    /// Listens for clients of a container's host sockets.
    /// - Returns: where the agent is to listen.
    func offer(_ sockets: [GuestSpec.Socket], for record: Container) throws -> [Grpc_Storage] {
        guard let machine else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        guard !sockets.isEmpty else { return [] }
        let greeter = try greeter ?? SocketGreeter(relay: machine.relay, limits: limits)
        self.greeter = greeter
        return try sockets.map { wanted in
            let socket = try HostSocket(wanted.source, for: record.identities, greeter: greeter)
            let port = nextPort()
            try machine.channel.listen(port: port) { socket.serve($0) }
            record.sockets.append((port, socket))
            var storage = Grpc_Storage()
            (storage.driver, storage.source) = (SocketRelay.driver, "\(port)")
            (storage.mountPoint, storage.options) = (wanted.path, socket.options)
            return storage
        }
    }

    /// Ends the streams to a container's host sockets.
    func withdrawSockets(of record: Container) {
        for (port, socket) in record.sockets {
            parts.channel?.stopListening(port: port)
            socket.close()
        }
        record.sockets = []
    }
}
