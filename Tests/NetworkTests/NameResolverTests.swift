import AgentAPI
import Channel
import Glibc
import LinuxKernel
import Logging
import Streams
import Synchronization
import TestSupport
import Testing

@testable import Network

@Suite(
    "The relay to a namespace's resolver", .enabled(if: NetworkNamespace.hasTools, "needs root and ip(8)"),
    .timeLimit(.minutes(5)))
struct NameResolverTests {
    @Test("a guest has 64 TCP connections at a time; further ones are closed, and the log says so; 64 by datagram")
    func connections() async throws {
        let namespace = try NetworkNamespace.forTest()
        try namespace.shell("ip link set lo up")
        let listener = Mutex<SharedDescriptor?>(nil)
        try inNetwork(namespace) {
            let socket = SharedDescriptor(try InternetSocket.bind(.connections, "127.0.0.1", 5300))
            listener.withLock { $0 = socket }
        }
        let lines = LogLines()
        let relay = try StreamRelay()
        defer { relay.stop() }
        let resolver = try NameResolver(
            "127.0.0.1", 5300, in: namespace, relay: relay,
            limits: LimitLog(Logger(label: "test") { _ in CollectedLog(lines: lines) }))
        defer { resolver.close() }
        let clients = try (0..<70).map { _ in
            let pair = try SocketPair()
            resolver.serve(connection: try pair.theirs.duplicate().take())
            return SharedDescriptor(pair.keepingOurs())
        }
        func closed() throws -> Int {
            clients.count { $0.descriptor.isReadable(by: .now) }
        }
        try await eventually { try closed() == 6 }
        try await Task.sleep(for: .milliseconds(50))
        #expect(try closed() == 6 && listener.withLock { $0 != nil })
        #expect(lines.all.count { $0.contains(GuestLimit.resolverConnections.rawValue) } == 1)
        // By datagram the first client makes room.
        let askers = try (0..<66).map { _ in
            let pair = try SocketPair()
            resolver.serve(datagrams: try pair.theirs.duplicate().take())
            return SharedDescriptor(pair.keepingOurs())
        }
        try await eventually { askers.prefix(2).allSatisfy { $0.descriptor.isReadable(by: .now) } }
        #expect(askers.dropFirst(2).allSatisfy { !$0.descriptor.isReadable(by: .now) })
        #expect(lines.all.count { $0.contains(GuestLimit.resolverClients.rawValue) } == 1)
    }
}
