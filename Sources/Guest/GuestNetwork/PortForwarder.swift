import AgentAPI
import Glibc
import LinuxKernel
import Streams

/// Connects streams of the host to programs that listen on the guest's loopback addresses.
package enum PortForwarder {
    /// Serves from now on. Only the host may connect: programs of the guest need no relay.
    /// - Throws: `SystemError` when the guest has no vsock, the port is taken, or the thread can't be started.
    package static func serve(relay: StreamRelay) throws(SystemError) {
        try Listener(vsockPort: PortRelay.port, allowedPeer: Vsock.host).forEachConnection(thread: "forward") {
            stream in
            let stream = SharedDescriptor(stream)
            // The host bounds their number.
            try? startThread("forward") { serve(stream, relay) }
        }
    }

    private static let addresses = ["127.0.0.1", "::1"]

    /// Reads the port, connects, answers, and relays.
    static func serve(_ stream: SharedDescriptor, _ relay: StreamRelay) {
        UnixSocket.setReadLimit(stream.raw, Deadline.guestForward.limit)
        var greeting = [UInt8](repeating: 0, count: PortRelay.greetingLength)
        // SAFETY: recv(2) writes at most `greeting.count` bytes, and only those are used.
        let count = unsafe recv(stream.raw, &greeting, greeting.count, Int32(MSG_WAITALL))
        guard let port = PortRelay.port(in: Array(greeting.prefix(max(0, count)))) else { return }
        UnixSocket.setReadLimit(stream.raw, nil)
        let deadline = ContinuousClock.now + Deadline.guestForward.limit
        for address in addresses {
            guard let socket = try? InternetSocket.connect(to: address, port, by: deadline),
                let stream = try? stream.descriptor.duplicate()
            else { continue }
            guard answer(.connected, on: stream.raw) else { return }
            relay.join(stream, socket)
            return
        }
        _ = answer(.refused, on: stream.raw)
    }

    private static func answer(_ answer: PortRelay.Answer, on stream: Int32) -> Bool {
        var byte = answer.rawValue
        // SAFETY: `byte` has the one byte that is sent.
        return unsafe send(stream, &byte, 1, Int32(MSG_NOSIGNAL)) == 1
    }
}
