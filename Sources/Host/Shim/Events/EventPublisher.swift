import EventLoop
import LinuxKernel
import Logging
import NIOCore
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC

/// Forwards task events to containerd, in order. Without an address it drops them.
package actor EventPublisher {
    private struct Pending: Sendable {
        var queue = EventQueue()
        /// Whether an event was taken from the queue and is not delivered yet.
        var isForwarding = false
        var hasDropped = false
        var isEmpty: Bool { queue.isEmpty && !isForwarding }
    }

    private nonisolated let executor: LoopExecutor
    // SAFETY: the actor holds the executor as long as it lives.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
    private nonisolated let pending = Mutex(Pending())
    private nonisolated let wakeUp: AsyncStream<Void>.Continuation
    private let namespace: String
    private nonisolated let address: String?
    private let loop: any EventLoop
    private nonisolated let log: Logger
    private var connection: RPCClient?
    /// Completed when no event is pending.
    private var flushes: [EventLoopPromise<Void>] = []

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
        let isFirstDrop = pending.withLock { pending in
            let isDropped = !pending.queue.append(event).isEmpty
            defer { pending.hasDropped = pending.hasDropped || isDropped }
            return isDropped && !pending.hasDropped
        }
        if isFirstDrop {
            log.warning(
                "too many events are pending: some are dropped; this is logged once",
                metadata: ["events": "\(EventQueue.maxEvents)", "bytes": "\(EventQueue.maxBytes)"])
        }
        wakeUp.yield()
    }

    private func forwardAll() async {
        while let envelope = next() {
            await forward(envelope)
            pending.withLock { $0.isForwarding = false }
        }
        let completed = flushes
        flushes = []
        for flush in completed { flush.succeed() }
    }

    private nonisolated func next() -> EventQueue.Envelope? {
        pending.withLock { pending in
            let envelope = pending.queue.popFirst()
            pending.isForwarding = envelope != nil
            return envelope
        }
    }

    /// Waits until no event is pending, at most `limit`.
    package func flush(within limit: Duration) async {
        guard pending.withLock({ !$0.isEmpty }) else { return }
        let promise = loop.makePromise(of: Void.self)
        flushes.append(promise)
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { promise.succeed() }
        try? await promise.futureResult.get()
        timer.cancel()
    }

    // MARK: One event

    private func forward(_ envelope: EventQueue.Envelope) async {
        // An out-of-memory report must not delay the events behind it for long.
        let attempts = envelope.topic == "/tasks/oom" ? 2 : 5
        // The second attempt follows at once: after a restart of containerd only the old connection is dead.
        for attempt in 0..<attempts {
            if attempt > 1 { try? await sleep(.seconds(attempt - 1), on: loop) }
            do { return try await send(envelope) } catch {
                await connection?.close()
                connection = nil
                log.warning("event not delivered", metadata: ["topic": "\(envelope.topic)", "error": "\(error)"])
                guard Self.isRetryable(error) else { return }
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

    /// Whether another attempt may succeed, because containerd was away. A refused or too long event stays so.
    static func isRetryable(_ error: any Error) -> Bool {
        guard let error = error as? RPCError else { return true }
        return error.code == .unavailable || error.code == .deadlineExceeded
    }
}
