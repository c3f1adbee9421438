import EventLoop
import LinuxKernel
import Logging
import NIOPosix
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

@Suite("Events for a manager", .timeLimit(.minutes(1)))
struct EventTests {
    private static func event(_ topic: String, _ bytes: Int = 10) -> EventQueue.Envelope {
        .with {
            $0.topic = topic
            $0.event.value = .init([UInt8](repeating: 0, count: bytes))
        }
    }

    private func drain(_ queue: EventQueue) -> [String] {
        var queue = queue
        var topics: [String] = []
        while let event = queue.popFirst() { topics.append(event.topic) }
        return topics
    }

    @Test("events come out in their order")
    func order() {
        var queue = EventQueue()
        for topic in ["/tasks/create", "/tasks/oom", "/tasks/exit"] { #expect(queue.append(Self.event(topic)) == []) }
        #expect(drain(queue) == ["/tasks/create", "/tasks/oom", "/tasks/exit"])
    }

    @Test("a flood of reports, or of large ones, pushes no end of a process out, and takes no more memory than it may")
    func floods() {
        for (count, bytes) in [(5_000, 10), (100, 1 << 20)] {
            var queue = EventQueue()
            _ = queue.append(Self.event("/tasks/exit"))
            for _ in 0..<count { _ = queue.append(Self.event("/tasks/oom", bytes)) }
            _ = queue.append(Self.event("/tasks/start"))
            #expect(queue.count <= EventQueue.mostEvents && queue.bytes <= EventQueue.mostBytes)
            let topics = drain(queue)
            #expect(topics.first == "/tasks/exit" && topics.last == "/tasks/start")
        }
        var queue = EventQueue()
        for number in 0..<3000 { _ = queue.append(Self.event(number % 2 == 0 ? "/tasks/paused" : "/tasks/exit")) }
        #expect(drain(queue).filter { $0 == "/tasks/exit" }.count == 1500)
        #expect(queue.append(Self.event("/tasks/oom")) == ["/tasks/oom"])
        #expect(queue.append(Self.event("/tasks/oom", 8 << 20)) == ["/tasks/oom"])
    }

    /// containerd's end: refuses what the test says, and keeps the topics of the rest.
    private final class Containerd: Sendable {
        private let topics = Mutex<[String]>([])
        private let tries = Mutex(0)
        private let scratch = Scratch()
        var address: String { scratch.path + "/s" }
        var taken: [String] { topics.withLock { $0 } }
        var asked: Int { tries.withLock { $0 } }

        /// - Parameter times: how often it refuses; then it takes what it is given.
        func serve(refusing code: RPCError.Code, _ topic: String, times: Int) async throws {
            let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
            let server = RPCServer(
                eventLoop: loop,
                services: [
                    "containerd.services.events.ttrpc.v1.Events": { [self] _, payload, _ in
                        let request = try Containerd_Services_Events_Ttrpc_V1_ForwardRequest(serializedBytes: payload)
                        let asked = tries.withLock { tries in
                            tries += 1
                            return tries
                        }
                        if request.envelope.topic == topic, asked <= times { throw RPCError(code, "refused") }
                        topics.withLock { $0.append(request.envelope.topic) }
                        return []
                    }
                ])
            _ = try await server.listen(socket: try UnixSocket.listen(address).take())
        }
    }

    private func publisher(_ address: String) -> EventPublisher {
        EventPublisher(
            address: address, namespace: "n", loop: MultiThreadedEventLoopGroup(numberOfThreads: 1).next(),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test(
        "what containerd refuses, or what is too long for it, is not sent again, and what is behind it goes out at once"
    )
    func refused() async throws {
        let containerd = Containerd()
        try await containerd.serve(refusing: .invalidArgument, "/tasks/create", times: .max)
        let events = publisher(containerd.address)
        events.publish("/tasks/create", Containerd_Events_TaskCreate())
        var huge = Containerd_Events_TaskCreate()
        huge.bundle = String(repeating: "b", count: (4 << 20) - 60)
        events.publish("/tasks/start", huge)
        events.publish("/tasks/exit", Containerd_Events_TaskExit())
        await events.flush(within: .seconds(30))
        #expect(containerd.taken == ["/tasks/exit"] && containerd.asked == 2)
    }

    @Test("containerd that is away for a moment gets its events when it is there")
    func away() async throws {
        let containerd = Containerd()
        try await containerd.serve(refusing: .unavailable, "/tasks/exit", times: 2)
        let events = publisher(containerd.address)
        events.publish("/tasks/exit", Containerd_Events_TaskExit())
        await events.flush(within: .seconds(30))
        #expect(containerd.taken == ["/tasks/exit"] && containerd.asked == 3)
        #expect(EventPublisher.mayPass(RPCError(.unavailable, "")) && !EventPublisher.mayPass(RPCError(.unknown, "")))
    }
}
