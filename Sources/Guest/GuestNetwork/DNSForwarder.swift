import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import Streams

/// Answers DNS in the guest in place of the resolver in the sandbox's network namespace: forwards queries to the host
/// over vsock.
package enum DNSForwarder {
    /// Serves from now on: datagrams on one thread, TCP clients on another.
    /// - Throws: when the address is taken.
    package static func start(relay: StreamRelay) throws {
        let datagrams = try InternetSocket.bind(.datagrams, NameRelay.address, NameRelay.port)
        let listener = try Listener(InternetSocket.bind(.connections, NameRelay.address, NameRelay.port))
        try listener.forEachConnection(thread: "names-tcp") { client in
            // Without a relay on the host, the client sees its connection close.
            guard let stream = try? Vsock.connect(port: NameRelay.connections) else { return }
            relay.join(client, stream)
        }
        let forwarder = DatagramForwarder(datagrams)
        detachThread("names") { forwarder.run() }
    }
}

/// Forwards the datagrams of each client over a separate stream.
private final class DatagramForwarder: Sendable {
    private static let maxFlows = 128
    private static let maxDatagram = 65535

    /// A client's address and its stream to the host.
    private struct Flow {
        let client: [UInt8]
        let stream: Int32
        var frames = DatagramFrames()
        var used = ContinuousClock.now
    }

    private let socket: FileDescriptor

    init(_ socket: consuming FileDescriptor) { self.socket = socket }

    func run() -> Never {
        var flows: [Flow] = []
        // The flows by index; nil for the clients' socket.
        var polled = PollSet<Int?>()
        while true {
            polled.removeAll()
            polled.add(socket.raw, for: nil)
            for (index, flow) in flows.enumerated() { polled.add(flow.stream, for: index) }
            let oldest = flows.map(\.used).min()
            let ready = polled.wait(oldest.map { $0 + Deadline.guestNames.limit - .now }) > 0 ? polled.ready : []
            var ended = Set(ready.compactMap(\.source).filter { !answer(&flows[$0]) })
            ended.formUnion(flows.indices.filter { .now - flows[$0].used > Deadline.guestNames.limit })
            for index in ended.sorted(by: >) { close(flows.remove(at: index).stream) }
            if ready.contains(where: { $0.source == nil }) { forward(&flows) }
            while flows.count > Self.maxFlows { close(flows.removeFirst().stream) }
        }
    }

    /// Sends a client's datagram to the host.
    private func forward(_ flows: inout [Flow]) {
        var buffer = [UInt8](repeating: 0, count: Self.maxDatagram)
        var name = [UInt8](repeating: 0, count: MemoryLayout<sockaddr_in>.size)
        var length = socklen_t(name.count)
        // SAFETY: recvfrom(2) writes at most `buffer.count` bytes, and at most `length` bytes of the address, which
        // `name` has.
        let count = unsafe name.withUnsafeMutableBytes { name in
            unsafe recvfrom(
                socket.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT),
                name.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard count > 0, var flow = takeFlow(of: name, from: &flows) else { return }
        flow.used = .now
        flows.append(flow)
        let frame = DatagramFrames.frame(Array(buffer.prefix(count)))
        // SAFETY: send(2) reads as many bytes as the frame has.
        _ = unsafe send(flow.stream, frame, frame.count, Int32(MSG_NOSIGNAL))
    }

    /// The client's flow, out of the list, or a new one; nil without a relay on the host: the client times out.
    private func takeFlow(of client: [UInt8], from flows: inout [Flow]) -> Flow? {
        if let index = flows.firstIndex(where: { $0.client == client }) { return flows.remove(at: index) }
        guard let stream = try? Vsock.connect(port: NameRelay.datagrams) else { return nil }
        return Flow(client: client, stream: stream.take())
    }

    /// Sends the host's answers to the client.
    /// - Returns: false when the stream has ended.
    private func answer(_ flow: inout Flow) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 8192)
        // SAFETY: recv(2) writes at most `buffer.count` bytes, and only those are used.
        let count = unsafe recv(flow.stream, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        guard count > 0 else { return count < 0 && errno == EAGAIN }
        flow.used = .now
        for datagram in flow.frames.receive(buffer.prefix(count)) {
            // SAFETY: sendto(2) only reads the datagram and the address, within their counts.
            _ = unsafe flow.client.withUnsafeBytes { name in
                unsafe sendto(
                    socket.raw, datagram, datagram.count, Int32(MSG_DONTWAIT),
                    name.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t(name.count))
            }
        }
        return true
    }
}
