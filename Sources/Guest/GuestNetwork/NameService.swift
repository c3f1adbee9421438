import AgentAPI
import CLinux
import Glibc
import LinuxKernel
import Streams

/// Stands in the guest for the resolver of the sandbox's network namespace: what its clients ask goes to the host, over the
/// guest's own channel.
package enum NameService {
    private static let limit = 128

    /// A client's datagrams.
    private struct Flow {
        let client: [UInt8]
        let stream: Int32
        var frames = DatagramFrames()
        var used = ContinuousClock.now
    }

    /// Serves from now on, on a thread of its own.
    /// - Throws: when the address is taken.
    package static func start(relay: StreamRelay) throws {
        let datagrams = try InternetSocket.bind(.datagrams, NameRelay.address, NameRelay.port).take()
        let listener: Int32
        do { listener = try InternetSocket.bind(.connections, NameRelay.address, NameRelay.port).take() } catch {
            close(datagrams)
            throw error
        }
        detachThread("names") { run(datagrams, listener, relay) }
    }

    private static func run(_ datagrams: Int32, _ listener: Int32, _ relay: StreamRelay) {
        var flows: [Flow] = []
        while true {
            var polled = [datagrams, listener].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            polled += flows.map { pollfd(fd: $0.stream, events: Int16(POLLIN), revents: 0) }
            _ = poll(&polled, nfds_t(polled.count), flows.isEmpty ? -1 : 1000)
            var ended: [Int] = []
            for index in flows.indices {
                if polled[2 + index].revents != 0, !answer(&flows[index], datagrams) {
                    ended.append(index)
                } else if .now - flows[index].used > Deadline.guestNames.limit {
                    ended.append(index)
                }
            }
            for index in ended.reversed() { close(flows.remove(at: index).stream) }
            if polled[0].revents != 0 { ask(datagrams, &flows) }
            if polled[1].revents != 0 { join(listener, relay) }
            while flows.count > limit { close(flows.removeFirst().stream) }
        }
    }

    /// A client's datagram to the host.
    private static func ask(_ socket: Int32, _ flows: inout [Flow]) {
        var buffer = [UInt8](repeating: 0, count: 65535)
        var name = [UInt8](repeating: 0, count: MemoryLayout<sockaddr_in>.size)
        var length = socklen_t(name.count)
        let count = name.withUnsafeMutableBytes { name in
            recvfrom(
                socket, &buffer, buffer.count, Int32(MSG_DONTWAIT),
                name.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard count > 0 else { return }
        var index = flows.firstIndex { $0.client == name }
        if index == nil {
            // No relay on the host: the client's time runs out.
            guard let stream = try? Vsock.connect(port: NameRelay.datagrams) else { return }
            flows.append(Flow(client: name, stream: stream.take()))
            index = flows.count - 1
        }
        let frame = DatagramFrames.frame(Array(buffer.prefix(count)))
        flows[index!].used = .now
        _ = send(flows[index!].stream, frame, frame.count, Int32(MSG_NOSIGNAL))
    }

    /// What the host answers to the client; false at the end.
    private static func answer(_ flow: inout Flow, _ socket: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 8192)
        let count = recv(flow.stream, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        guard count > 0 else { return count < 0 && errno == EAGAIN }
        flow.used = .now
        for datagram in flow.frames.receive(buffer.prefix(count)) {
            _ = flow.client.withUnsafeBytes { name in
                sendto(
                    socket, datagram, datagram.count, Int32(MSG_DONTWAIT),
                    name.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t(name.count))
            }
        }
        return true
    }

    /// A TCP client, and a stream of its own.
    private static func join(_ listener: Int32, _ relay: StreamRelay) {
        let socket = clx_accept(listener)
        guard socket >= 0 else { return }
        let client = FileDescriptor(owning: socket)
        guard let stream = try? Vsock.connect(port: NameRelay.connections) else { return }
        relay.join(client, stream)
    }
}
