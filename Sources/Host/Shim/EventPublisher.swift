import EventLoop
import LinuxKernel
import Logging
import NIOCore
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC

/// Forwards task events to containerd in the order in which they happened; without a publisher's address, drops them.
package actor EventPublisher {
    private struct Unsent: Sendable {
        var queue = EventQueue()
        var isForwarding = false
        var hasLost = false
        var isDone: Bool { queue.isEmpty && !isForwarding }
    }

    private nonisolated let executor: LoopExecutor
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private nonisolated let unsent = Mutex(Unsent())
    private nonisolated let wakeUp: AsyncStream<Void>.Continuation
    private let namespace: String
    private nonisolated let address: String?
    private let loop: any EventLoop
    private nonisolated let log: Logger
    private var connection: RPCClient?
    private var waiters: [EventLoopPromise<Void>] = []

    /// - Parameter address: containerd's ttrpc socket (TTRPC_ADDRESS), or nil.
    package init(address: String?, namespace: String, loop: any EventLoop, log: Logger) {
        self.address = address
        self.namespace = namespace
        self.loop = loop
        self.log = log
        executor = LoopExecutor(loop)
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        wakeUp = continuation
        Task(executorPreference: executor) { [weak self] in
            for await _ in stream { await self?.forwardAll() }
        }
    }

    nonisolated func publish(_ topic: String, _ message: some Message) {
        guard address != nil else { return }
        var envelope = Containerd_Services_Events_Ttrpc_V1_Envelope()
        envelope.timestamp = Google_Protobuf_Timestamp(timeOfDay())
        envelope.namespace = namespace
        envelope.topic = topic
        envelope.event.typeURL = type(of: message).protoMessageName
        envelope.event.value = (try? message.serializedBytes()) ?? .init()
        let event = envelope
        let isFirstLoss = unsent.withLock { unsent in
            let isLost = !unsent.queue.append(event).isEmpty
            defer { unsent.hasLost = unsent.hasLost || isLost }
            return isLost && !unsent.hasLost
        }
        if isFirstLoss {
            log.warning(
                "events wait and too many come: some are dropped; this is not logged again",
                metadata: ["events": "\(EventQueue.mostEvents)", "bytes": "\(EventQueue.mostBytes)"])
        }
        wakeUp.yield()
    }

    private func forwardAll() async {
        while let envelope = next() {
            await forward(envelope)
            unsent.withLock { $0.isForwarding = false }
        }
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.succeed() }
    }

    private nonisolated func next() -> EventQueue.Envelope? {
        unsent.withLock { unsent in
            let envelope = unsent.queue.popFirst()
            unsent.isForwarding = envelope != nil
            return envelope
        }
    }

    /// Returns when nothing waits to be delivered, or after `limit`.
    package func flush(within limit: Duration) async {
        guard unsent.withLock({ !$0.isDone }) else { return }
        let promise = loop.makePromise(of: Void.self)
        waiters.append(promise)
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { promise.succeed() }
        try? await promise.futureResult.get()
        timer.cancel()
    }

    // MARK: One event

    private func forward(_ envelope: EventQueue.Envelope) async {
        // At once after the first failure: containerd was started again and the old connection is dead. A report of memory that has run
        // out, which others wait behind, has those two tries.
        let attempts = envelope.topic == "/tasks/oom" ? 2 : 5
        for attempt in 0..<attempts {
            if attempt > 1 { try? await sleep(.seconds(attempt - 1), on: loop) }
            do { return try await send(envelope) } catch {
                await connection?.close()
                connection = nil
                log.warning("event not delivered", metadata: ["topic": "\(envelope.topic)", "error": "\(error)"])
                guard Self.mayPass(error) else { return }
            }
        }
    }

    private func send(_ envelope: EventQueue.Envelope) async throws {
        guard let address else { return }
        var request = Containerd_Services_Events_Ttrpc_V1_ForwardRequest()
        request.envelope = envelope
        if connection == nil { connection = try await RPCClient.connect(unixPath: address, on: loop) }
        guard let connection else { return }
        let _: Google_Protobuf_Empty = try await connection.call(
            "containerd.services.events.ttrpc.v1.Events", "Forward", request, timeout: Deadline.event.limit,
            metadata: [:])
    }

    /// Whether another try may succeed: containerd was away. What it refuses, or what is too long for it, stays so.
    static func mayPass(_ error: any Error) -> Bool {
        guard let error = error as? RPCError else { return true }
        return error.code == .unavailable || error.code == .deadlineExceeded
    }
}
