import AgentAPI
import OCISpec

extension Sandbox {
    /// Listens for clients of the sockets of a container, and says to the agent where they are to be.
    func offer(_ sockets: [GuestSpec.Socket], for record: Container) throws -> [Grpc_Storage] {
        guard let dialer, let relay else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        guard !sockets.isEmpty else { return [] }
        let greeter = try greeter ?? SocketGreeter(relay: relay, limits: limits)
        self.greeter = greeter
        return try sockets.map { wanted in
            let socket = try HostSocket(wanted.source, for: record.identities, greeter: greeter)
            let port = nextPort()
            try dialer.listen(port: port) { socket.serve($0) }
            record.sockets.append((port, socket))
            var storage = Grpc_Storage()
            (storage.driver, storage.source) = (SocketRelay.driver, "\(port)")
            (storage.mountPoint, storage.options) = (wanted.path, socket.options)
            return storage
        }
    }

    func withdrawSockets(of record: Container) {
        for (port, socket) in record.sockets {
            dialer?.stopListening(port: port)
            socket.close()
        }
        record.sockets = []
    }
}
