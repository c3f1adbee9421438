import AgentAPI
import Channel
import GuestSpec
import LinuxKernel
import Logging
import SocketForward

/// Connects sockets of the host with sockets of the guest.
struct Forwards: Sendable {
    private let limits: LimitLog
    /// Joins streams for host sockets and for ports of the guest; nil until the first one.
    private var greeter: SocketGreeter?
    /// Connects clients of the network namespace's loopback addresses to ports of the guest; nil where there is none.
    var ports: PortForward?

    init(_ limits: LimitLog) { self.limits = limits }

    /// The sandbox's one greeter.
    mutating func greeter(_ machine: RunningMachine) throws -> SocketGreeter {
        let greeter = try greeter ?? SocketGreeter(relay: machine.relay, limits: limits)
        self.greeter = greeter
        return greeter
    }

    /// Takes no further clients of ports.
    func refuse() { ports?.close() }

    /// Ends what is joined.
    func stop() { greeter?.stop() }
}

extension Sandbox {
    /// Listens for clients of a container's host sockets.
    /// - Returns: where the agent is to listen.
    func offer(_ sockets: [GuestSpec.Socket], for record: Container) throws -> [Grpc_Storage] {
        guard let machine else { throw SandboxError(.wrongState, "sandbox \(id) has no channel") }
        guard !sockets.isEmpty else { return [] }
        let greeter = try forwards.greeter(machine)
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

    // MARK: Ports of the guest

    /// Lets a pod's manager reach ports of the guest on the loopback addresses of the network namespace.
    func forwardPorts(_ machine: RunningMachine) {
        guard plan.isPod, machine.agentFeatures.contains(AgentFeature.portForward), let namespace = network?.namespace
        else { return }
        do {
            forwards.ports = try PortForward(in: namespace, limits: limits) { [weak self, executor] client in
                Task(executorPreference: executor) {
                    guard let self else { return client.refuse() }
                    await self.forward(client)
                }
            }
        } catch { log.warning("ports of the pod can't be forwarded", metadata: ["error": "\(error)"]) }
    }

    private func forward(_ client: PortClient) async {
        guard state == .ready, let machine,
            let stream = try? await machine.channel.dial(port: PortRelay.port, timeout: Deadline.forward.limit)
        else { return client.refuse() }
        let guest = FileDescriptor(owning: stream)
        guard state == .ready, let greeter = try? forwards.greeter(machine) else { return client.refuse() }
        client.connect(through: guest, greeter)
    }
}
