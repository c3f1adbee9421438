import EventLoop
import Glibc
import LinuxKernel
import Logging
import NIOCore
import NIOPosix
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

@Suite("Events for a manager", .timeLimit(.minutes(5)))
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
            #expect(queue.count <= EventQueue.maxEvents && queue.bytes <= EventQueue.maxBytes)
            let topics = drain(queue)
            #expect(topics.first == "/tasks/exit" && topics.last == "/tasks/start")
        }
        var queue = EventQueue()
        for number in 0..<3000 { _ = queue.append(Self.event(number % 2 == 0 ? "/tasks/paused" : "/tasks/exit")) }
        #expect(drain(queue).filter { $0 == "/tasks/exit" }.count == 1500)
        #expect(queue.append(Self.event("/tasks/oom")) == ["/tasks/oom"])
        #expect(queue.append(Self.event("/tasks/oom", 8 << 20)) == ["/tasks/oom"])
    }

    /// A fake containerd: refuses the calls that the test names, and keeps the topics of the others.
    private final class Containerd: Sendable {
        private let topics = Mutex<[String]>([])
        private let tries = Mutex(0)
        private let scratch = Scratch()
        private let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
        /// Completed when a hung containerd goes on.
        private let goesOn: EventLoopPromise<Void>
        /// The listening socket, then duplicates of the clients' sockets.
        private let sockets = Mutex<[SharedDescriptor]>([])
        let address: String

        init(address: String? = nil) {
            self.address = address ?? scratch.path + "/s"
            goesOn = loop.makePromise()
        }

        func resume() { goesOn.succeed() }
        /// Topics of the accepted events. An event whose answer was late is sent again, which does not count.
        var taken: [String] {
            topics.withLock { $0.reduce(into: []) { if $0.last != $1 || $1 == "/tasks/oom" { $0.append($1) } } }
        }
        var asked: Int { tries.withLock { $0 } }

        /// - Parameters:
        ///   - times: how many calls are refused; later ones are accepted.
        ///   - isHung: whether calls wait for `resume`.
        func serve(refusing code: RPCError.Code, _ topic: String, times: Int, isHung: Bool = false) async throws {
            if !isHung { resume() }
            let server = RPCServer(
                eventLoop: loop,
                services: [
                    "containerd.services.events.ttrpc.v1.Events": { [self] _, payload, _ in
                        try await goesOn.futureResult.get()
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
            let listener = SharedDescriptor(try UnixSocket.listen(address))
            sockets.withLock { $0.append(listener) }
            let executor = LoopExecutor(loop)
            detachThread("containerd") { [self] in
                while case let client = Glibc.accept(listener.raw, nil, nil), client >= 0 {
                    sockets.withLock { $0.append(SharedDescriptor(FileDescriptor(owning: dup(client)))) }
                    // On the loop: other tests may keep the threads of the default executor busy.
                    Task(executorPreference: executor) { try await server.accept(socket: client) }
                }
            }
        }

        /// Ends as a killed process does: with all its connections.
        func stop() {
            for socket in sockets.withLock({ $0 }) { shutdown(socket.raw, Int32(SHUT_RDWR)) }
            unlink(address)
        }
    }

    private func publisher(_ address: String) -> EventPublisher {
        EventPublisher(
            address: address, namespace: "n", loop: MultiThreadedEventLoopGroup(numberOfThreads: 1).next(),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test(
        "an event that containerd refuses, or that is too long for it, is not sent again, and the next ones go out at once"
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
        await events.flush(within: .longWait)
        #expect(containerd.taken == ["/tasks/exit"] && containerd.asked == 2)
    }

    @Test("containerd that is away for a moment gets its events when it is there")
    func away() async throws {
        let containerd = Containerd()
        try await containerd.serve(refusing: .unavailable, "/tasks/exit", times: 2)
        let events = publisher(containerd.address)
        events.publish("/tasks/exit", Containerd_Events_TaskExit())
        await events.flush(within: .longWait)
        #expect(containerd.taken == ["/tasks/exit"] && containerd.asked == 3)
        #expect(
            EventPublisher.isRetryable(RPCError(.unavailable, ""))
                && !EventPublisher.isRetryable(RPCError(.unknown, "")))
    }

    /// The topics of `count` events, which differ by their number.
    private func topics(_ count: Int) -> [String] { (0..<count).map { "/tasks/start-\($0)" } }

    @Test("containerd gets events in the order in which they were published")
    func forwardedInOrder() async throws {
        let containerd = Containerd()
        try await containerd.serve(refusing: .unknown, "", times: 0)
        let events = publisher(containerd.address)
        for topic in topics(200) { events.publish(topic, Containerd_Events_TaskStart()) }
        await events.flush(within: .longWait)
        #expect(containerd.taken == topics(200))
    }

    @Test("a containerd that was started again gets the events over a new connection")
    func reconnected() async throws {
        let first = Containerd()
        try await first.serve(refusing: .unknown, "", times: 0)
        let events = publisher(first.address)
        events.publish("/tasks/create", Containerd_Events_TaskCreate())
        await events.flush(within: .longWait)
        first.stop()
        let second = Containerd(address: first.address)
        try await second.serve(refusing: .unknown, "", times: 0)
        events.publish("/tasks/exit", Containerd_Events_TaskExit())
        await events.flush(within: .longWait)
        #expect(first.taken == ["/tasks/create"] && second.taken == ["/tasks/exit"])
    }

    @Test("a containerd that does not answer holds up a flush no longer than its limit, and loses no exit")
    func hung() async throws {
        let containerd = Containerd()
        try await containerd.serve(refusing: .unknown, "", times: 0, isHung: true)
        let events = publisher(containerd.address)
        events.publish("/tasks/create", Containerd_Events_TaskCreate())
        events.publish("/tasks/exit", Containerd_Events_TaskExit())
        for _ in 0..<(2 * EventQueue.maxEvents) { events.publish("/tasks/oom", Containerd_Events_TaskOOM()) }
        await events.flush(within: .milliseconds(50))
        #expect(containerd.taken.isEmpty)
        containerd.resume()
        await events.flush(within: .longWait)
        #expect(Array(containerd.taken.prefix(2)) == ["/tasks/create", "/tasks/exit"])
        // The event that is on its way, a full queue, and a late answer.
        #expect(containerd.taken.count <= EventQueue.maxEvents + 2)
    }
}
