import AgentAPI
import Channel
import Glibc
import LinuxKernel
import Netlink
import Streams

/// Asks the resolver of a sandbox's network namespace for the guest. The guest's streams reach that address alone.
///
/// One thread, in the namespace. The guest is hostile: it gets few streams, and no other address.
package final class NameResolver: Sendable {
    /// A stream of the guest, owned by its holder.
    private enum Arrival: Sendable {
        /// Framed datagrams.
        case datagrams(Int32)
        /// The bytes of a TCP connection.
        case connection(Int32)

        func close() {
            switch self {
            case .datagrams(let stream), .connection(let stream): Glibc.close(stream)
            }
        }
    }
    private let inbox: Inbox<Arrival>
    private let address: String
    private let port: UInt16
    private let relay: StreamRelay
    private let limits: LimitLog

    /// Datagrams of one client of the guest.
    private struct Flow {
        let stream: Int32
        let socket: Int32
        var frames = DatagramFrames()
        var used = ContinuousClock.now
    }

    /// A TCP connection of the guest, which the relay serves.
    private struct Connection {
        let directions: [StreamRelay.Handle]
        var moved = 0
        var used = ContinuousClock.now

        /// Whether it has ended, or was without a byte for too long.
        mutating func isOver() -> Bool {
            let total = directions.reduce(0) { $0 + $1.moved }
            if total != moved { (moved, used) = (total, .now) }
            return directions.allSatisfy(\.hasEnded) || .now - used > Deadline.names.limit
        }
    }

    /// Starts the resolver's thread in the namespace.
    /// - Throws: `SystemError` when the thread or its descriptor can't be made.
    package init(
        _ address: String, _ port: UInt16, in namespace: NetworkNamespace, relay: StreamRelay, limits: LimitLog
    ) throws {
        (self.address, self.port, self.relay, self.limits) = (address, port, relay, limits)
        inbox = try Inbox()
        try startThread("names") { [self] in
            guard (try? namespace.enter()) != nil else { return close() }
            run()
        }
    }

    /// Takes a stream of framed datagrams.
    package func serve(datagrams stream: Int32) { take(.datagrams(stream)) }

    /// Takes a stream that carries a TCP connection.
    package func serve(connection stream: Int32) { take(.connection(stream)) }

    private func take(_ arrival: Arrival) {
        if !inbox.send([arrival]) { arrival.close() }
    }

    /// Ends the thread and all its streams. A stream that comes later is closed.
    package func close() { for arrival in inbox.close() { arrival.close() } }

    /// A descriptor of a flow.
    private enum Source {
        case inbox
        case stream(Int)
        case socket(Int)
    }

    private func run() {
        var flows: [Flow] = []
        var connections: [Connection] = []
        var polled = PollSet<Source>()
        while let arrivals = inbox.take() {
            endIdle(&connections)
            for arrival in arrivals {
                switch arrival {
                case .datagrams(let stream): flow(stream).map { flows.append($0) }
                case .connection(let stream): connect(stream, &connections)
                }
            }
            while flows.count > GuestLimit.resolverClients.value {
                limits.reached(.resolverClients, "\(address):\(port)")
                Self.end(flows.removeFirst())
            }
            polled.removeAll()
            polled.add(inbox.descriptor, for: .inbox)
            for (index, flow) in flows.enumerated() {
                polled.add(flow.stream, for: .stream(index))
                polled.add(flow.socket, for: .socket(index))
            }
            var ended: Set<Int> = []
            let oldest = (flows.map(\.used) + connections.map(\.used)).min()
            if polled.wait(oldest.map { $0 + Deadline.names.limit - .now }) > 0 {
                for (source, _) in polled.ready {
                    switch source {
                    case .inbox: break
                    case .stream(let index): if !Self.ask(&flows[index]) { ended.insert(index) }
                    case .socket(let index): if !Self.answer(&flows[index]) { ended.insert(index) }
                    }
                }
            }
            ended.formUnion(flows.indices.filter { .now - flows[$0].used > Deadline.names.limit })
            for index in ended.sorted(by: >) { Self.end(flows.remove(at: index)) }
        }
        for flow in flows { Self.end(flow) }
    }

    /// - Returns: nil without a socket; the stream is closed then.
    private func flow(_ stream: Int32) -> Flow? {
        guard let socket = try? InternetSocket.connect(.datagrams, address, port).take() else {
            Glibc.close(stream)
            return nil
        }
        return Flow(stream: stream, socket: socket)
    }

    /// Joins a stream with a connection to the resolver; closes it where there are enough.
    private func connect(_ stream: Int32, _ connections: inout [Connection]) {
        let stream = FileDescriptor(owning: stream)
        guard connections.count < GuestLimit.resolverConnections.value else {
            return limits.reached(.resolverConnections, "\(address):\(port)")
        }
        guard let socket = try? InternetSocket.connect(.connections, address, port) else { return }
        connections.append(Connection(directions: relay.join(stream, socket)))
    }

    private func endIdle(_ connections: inout [Connection]) {
        for index in connections.indices.reversed() where connections[index].isOver() {
            for direction in connections.remove(at: index).directions { relay.end(direction) }
        }
    }

    /// Passes data from guest to resolver; false at the end.
    private static func ask(_ flow: inout Flow) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        // SAFETY: read(2) writes at most `buffer.count` bytes, and only those that it has written are used.
        let count = unsafe read(flow.stream, &buffer, buffer.count)
        guard count > 0 else { return count < 0 && errno == EAGAIN }
        flow.used = .now
        for datagram in flow.frames.receive(buffer.prefix(count)) {
            // A datagram may be lost, as on any network: clients ask again.
            // SAFETY: send(2) only reads the `datagram.count` bytes.
            _ = unsafe send(flow.socket, datagram, datagram.count, Int32(MSG_DONTWAIT))
        }
        return true
    }

    /// Passes data from resolver to guest.
    private static func answer(_ flow: inout Flow) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65535)
        // SAFETY: recv(2) writes at most `buffer.count` bytes, and only those that it has written are used.
        let count = unsafe recv(flow.socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        // ECONNREFUSED: nothing listens there (ICMP). The client gets no answer and asks again.
        guard count >= 0 else { return true }
        flow.used = .now
        let frame = DatagramFrames.frame(Array(buffer.prefix(count)))
        // Half a frame would make the rest unreadable: a guest that doesn't read loses the stream.
        // SAFETY: send(2) only reads the `frame.count` bytes.
        return unsafe send(flow.stream, frame, frame.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            == frame.count
    }

    private static func end(_ flow: Flow) {
        Glibc.close(flow.stream)
        Glibc.close(flow.socket)
    }

    // MARK: The resolver's own queries

    /// Local ports of the namespace's own sockets, which guests don't pick: the upper 4096, beyond Linux's usual
    /// range.
    private static let ownPorts: ClosedRange<UInt16> = 0xf000...0xffff

    /// Directs answers to the namespace. Its resolver asks others from the guest's own address. So their answers and
    /// ARP must reach the namespace, although the link's packets go to the guest.
    /// - Parameter priority: the first of three.
    static func rules(tap: Int32, from priority: UInt16) -> [IngressRule] {
        let udp = UInt32(17) << 16
        let tcp = UInt32(6) << 16
        func answers(_ protocolNumber: UInt32) -> [IngressRule.Match] {
            [
                // IPv4 without options; the protocol; from port 53 to one of the namespace's ports.
                IngressRule.Match(0x4500_0000, mask: 0xff00_0000, at: 0),
                IngressRule.Match(protocolNumber, mask: 0x00ff_0000, at: 8),
                IngressRule.Match(53 << 16 | UInt32(ownPorts.lowerBound), mask: 0xffff_f000, at: 20),
            ]
        }
        return [
            IngressRule(protocol: EtherType.ipv4, priority: priority, matches: answers(udp), .pass),
            IngressRule(protocol: EtherType.ipv4, priority: priority + 1, matches: answers(tcp), .pass),
            IngressRule(protocol: EtherType.arp, priority: priority + 2, .mirror(to: tap)),
        ]
    }

    /// Sets the ports of sockets in the calling thread's namespace.
    static func claimPorts() throws {
        try Files.write(
            "/proc/sys/net/ipv4/ip_local_port_range", "\(ownPorts.lowerBound) \(ownPorts.upperBound)")
    }
}
