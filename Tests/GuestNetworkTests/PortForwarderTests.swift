import AgentAPI
import Glibc
import LinuxKernel
import Netlink
import Streams
import TestSupport
import Testing

@testable import GuestNetwork

@Suite("Connections of the host to ports of the guest", .enabled(if: getuid() == 0, "a network namespace needs root"))
struct PortForwarderTests {
    /// The host's end of a stream that the agent serves in the background.
    private static func stream(_ greeting: [UInt8], _ relay: StreamRelay) -> Int32 {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
        UnixSocket.setReadLimit(ends[0], .longWait)
        send(ends[0], greeting, greeting.count, 0)
        if greeting.count < PortRelay.greetingLength { shutdown(ends[0], Int32(SHUT_WR)) }
        PortForwarder.serve(SharedDescriptor(FileDescriptor(owning: ends[1])), relay)
        return ends[0]
    }

    private static func bytes(_ socket: Int32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 100)
        return Array(bytes[..<max(0, recv(socket, &bytes, bytes.count, 0))])
    }

    @Test("a listener on either loopback address is found, a port without one is refused, half a greeting is dropped")
    func serve() throws {
        try inOwnNetwork {
            let socket = try NetlinkSocket()
            var change = NetlinkSocket.Change()
            change.isUp = true
            try socket.change(try socket.link(named: "lo").index, change)
            let relay = try StreamRelay()
            defer { relay.stop() }
            for (address, port) in [("127.0.0.1", UInt16(80)), ("::1", 443)] {
                let listener = try InternetSocket.bind(.connections, address, port)
                let host = Self.stream(PortRelay.greeting(port), relay)
                defer { close(host) }
                let served = FileDescriptor(owning: accept(listener.raw, nil, nil))
                #expect(Self.bytes(host) == [PortRelay.Answer.connected.rawValue])
                send(host, [1, 2] as [UInt8], 2, 0)
                #expect(Self.bytes(served.raw) == [1, 2])
                shutdown(host, Int32(SHUT_WR))
                #expect(Self.bytes(served.raw) == [])
                send(served.raw, [3] as [UInt8], 1, 0)
                #expect(Self.bytes(host) == [3])
            }
            let refused = Self.stream(PortRelay.greeting(81), relay)
            #expect(Self.bytes(refused) == [PortRelay.Answer.refused.rawValue] && Self.bytes(refused) == [])
            let half = Self.stream([0], relay)
            #expect(Self.bytes(half) == [])
            for end in [refused, half] { close(end) }
        }
    }
}
