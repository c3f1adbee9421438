import AgentAPI
import CLinux
import Channel
import Glibc
import LinuxKernel
import Logging
import Netlink
import Streams
import Synchronization
import TestSupport
import Testing

@testable import SocketForward

@Suite(
    "Ports of the guest for a pod's manager", .serialized, .timeLimit(.minutes(5)),
    .enabled(if: geteuid() == 0, "needs root: it makes network namespaces"))
struct PortForwardTests {
    /// A network namespace with forwarded ports, and the agent's ends of its streams.
    private final class Place: Sendable {
        let relay: StreamRelay
        let greeter: SocketGreeter
        let lines = LogLines()
        let forward: PortForward
        private let arrivals: Pipe

        /// To be made in the namespace.
        init() throws {
            let socket = try NetlinkSocket()
            var change = NetlinkSocket.Change()
            change.isUp = true
            try socket.change(try socket.link(named: "lo").index, change)
            relay = try StreamRelay()
            let lines = lines
            let limits = LimitLog(Logger(label: "test") { _ in CollectedLog(lines: lines) })
            greeter = try SocketGreeter(relay: relay, limits: limits)
            arrivals = try Pipe()
            let (greeter, end) = (greeter, arrivals.writeEnd.raw)
            forward = try PortForward(in: try NetworkNamespace.open("/proc/thread-self/ns/net"), limits: limits) {
                client in
                var ends: [Int32] = [-1, -1]
                socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
                client.connect(through: FileDescriptor(owning: ends[1]), greeter)
                _ = write(end, &ends[0], 4)
            }
        }

        /// The agent's end of the next stream.
        func next() -> Int32 {
            var number: Int32 = -1
            _ = read(arrivals.readEnd.raw, &number, 4)
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            return number
        }

        func end() {
            forward.close()
            greeter.stop()
            relay.stop()
        }
    }

    private static func connect(_ address: String, _ port: UInt16) throws -> FileDescriptor {
        let socket = try InternetSocket.connect(to: address, port, by: .now + .longWait)
        _ = fcntl(socket.raw, F_SETFL, 0)
        socket.setReadLimit(.longWait)
        return socket
    }

    /// The error of a connection's set-up or of its first read; nil when there is none.
    private static func refusal(_ read: () throws -> String?) -> Int32? {
        do { return try read() == nil ? errno : nil } catch { return (error as? SystemError)?.code }
    }

    private static func text(_ socket: Int32, _ count: Int = 100) -> String? {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = recv(socket, &bytes, count, 0)
        return got < 0 ? nil : String(decoding: bytes[..<got], as: UTF8.self)
    }

    private static func send(_ socket: Int32, _ bytes: [UInt8]) { _ = Glibc.send(socket, bytes, bytes.count, 0) }

    @Test("any port of both loopback addresses reaches the agent with its number; bytes go both ways, each ends alone")
    func both() throws {
        try inOwnNetwork {
            let place = try Place()
            defer { place.end() }
            for (address, port) in [("127.0.0.1", UInt16(80)), ("::1", 54321)] {
                let client = try Self.connect(address, port)
                let agent = place.next()
                defer { close(agent) }
                Self.send(client.raw, Array("early".utf8))
                var greeting = [UInt8](repeating: 0, count: 2)
                #expect(recv(agent, &greeting, 2, 0) == 2 && PortRelay.port(in: greeting) == port)
                Self.send(agent, [PortRelay.Answer.connected.rawValue] + Array("hello".utf8))
                #expect(Self.text(client.raw) == "hello" && Self.text(agent) == "early")
                shutdown(client.raw, Int32(SHUT_WR))
                #expect(Self.text(agent) == "")
                Self.send(agent, Array("last".utf8))
                #expect(Self.text(client.raw) == "last")
                shutdown(agent, Int32(SHUT_WR))
                #expect(Self.text(client.raw) == "")
            }
        }
    }

    @Test("a client is reset when no program listens in the guest, or its agent sends nonsense or goes")
    func refused() throws {
        try inOwnNetwork {
            let place = try Place()
            defer { place.end() }
            for answer in [[PortRelay.Answer.refused.rawValue], [77], []] as [[UInt8]] {
                let client = try Self.connect("127.0.0.1", 80)
                let agent = place.next()
                Self.send(agent, answer)
                if answer.isEmpty { close(agent) }
                #expect(Self.refusal { Self.text(client.raw) } == ECONNRESET)
                if !answer.isEmpty { close(agent) }
            }
        }
    }

    @Test("other addresses and the end of the pod are refused, and nothing is left in the namespace")
    func nothingElse() throws {
        try inOwnNetwork {
            let place = try Place()
            func code(_ address: String) -> Int32? {
                Self.refusal {
                    _ = try Self.connect(address, 80)
                    return ""
                }
            }
            #expect(code("127.0.0.2") == ECONNREFUSED && code("127.0.0.1") == nil)
            close(place.next())
            place.end()
            // The kernel ends the redirection a moment later.
            let deadline = ContinuousClock.now + .longWait
            while code("127.0.0.1") == nil, .now < deadline { usleep(10_000) }
            #expect(code("127.0.0.1") == ECONNREFUSED && code("::1") == ECONNREFUSED)
        }
    }

    @Test("clients beyond the limit are reset, with one line in the log; those that end make room")
    func tooMany() throws {
        try inOwnNetwork {
            let place = try Place()
            defer { place.end() }
            let clients = try (0..<GuestLimit.portClients.value).map { _ in try Self.connect("127.0.0.1", 80).take() }
            let agents = clients.map { _ in place.next() }
            // The reset may come before the client has looked at its connection.
            let refusal = Self.refusal {
                let further = try Self.connect("127.0.0.1", 80)
                return Self.text(further.raw)
            }
            #expect(refusal == ECONNRESET)
            #expect(place.lines.all.filter { $0.contains("limit=port clients") }.count == 1)
            for agent in agents { Self.send(agent, [PortRelay.Answer.refused.rawValue]) }
            for client in clients {
                #expect(Self.text(client) == nil)
                close(client)
            }
            let next = try Self.connect("127.0.0.1", 80)
            let agent = place.next()
            Self.send(agent, [PortRelay.Answer.connected.rawValue, 120])
            #expect(Self.text(next.raw) == "x")
            for agent in agents + [agent] { close(agent) }
        }
    }
}
