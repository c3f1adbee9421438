import Deadlines
import EventLoop
import Linux
import Logging
import NIOCore
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC

/// Forwards task events to containerd in the order in which they happened; without a publisher's address, drops them.
package actor EventPublisher {
    private nonisolated let executor: LoopExecutor
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private nonisolated let queue: AsyncStream<Containerd_Services_Events_Ttrpc_V1_Envelope>.Continuation
    private let namespace: String
    private let address: String?
    private let loop: any EventLoop
    private let log: Logger
    private var connection: RPCClient?
    private nonisolated let unsent = Mutex(0)
    private var waiters: [EventLoopPromise<Void>] = []

    /// - Parameter address: containerd's ttrpc socket (TTRPC_ADDRESS), or nil.
    package init(address: String?, namespace: String, loop: any EventLoop, log: Logger) {
        self.address = address
        self.namespace = namespace
        self.loop = loop
        self.log = log
        executor = LoopExecutor(loop)
        let (stream, continuation) = AsyncStream.makeStream(
            of: Containerd_Services_Events_Ttrpc_V1_Envelope.self, bufferingPolicy: .bufferingNewest(2048))
        queue = continuation
        Task(executorPreference: executor) { [weak self] in
            for await envelope in stream {
                await self?.forward(envelope)
                await self?.forwarded()
            }
        }
    }

    nonisolated func publish(_ topic: String, _ message: some Message) {
        var envelope = Containerd_Services_Events_Ttrpc_V1_Envelope()
        envelope.timestamp = Google_Protobuf_Timestamp(timeOfDay())
        envelope.namespace = namespace
        envelope.topic = topic
        envelope.event.typeURL = type(of: message).protoMessageName
        envelope.event.value = (try? message.serializedBytes()) ?? .init()
        unsent.withLock { $0 += 1 }
        // The oldest one gave way: nobody will forward it.
        if case .dropped = queue.yield(envelope) { unsent.withLock { $0 -= 1 } }
    }

    private func forwarded() {
        let done = unsent.withLock { count in
            count -= 1
            return count <= 0
        }
        guard done else { return }
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.succeed() }
    }

    /// Returns when nothing waits to be delivered, or after `limit`.
    package func flush(within limit: Duration) async {
        guard address != nil, unsent.withLock({ $0 > 0 }) else { return }
        let promise = loop.makePromise(of: Void.self)
        waiters.append(promise)
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { promise.succeed() }
        try? await promise.futureResult.get()
        timer.cancel()
    }

    private func forward(_ envelope: Containerd_Services_Events_Ttrpc_V1_Envelope) async {
        guard let address else { return }
        var request = Containerd_Services_Events_Ttrpc_V1_ForwardRequest()
        request.envelope = envelope
        // At once after the first failure: containerd was started again and the old connection is dead.
        for attempt in 0..<5 {
            do {
                if connection == nil { connection = try await RPCClient.connect(unixPath: address, on: loop) }
                guard let connection else { return }
                let _: Google_Protobuf_Empty = try await connection.call(
                    "containerd.services.events.ttrpc.v1.Events", "Forward", request, timeout: Deadline.event.limit,
                    metadata: [:])
                return
            } catch {
                connection = nil
                log.warning("event not delivered", metadata: ["topic": "\(envelope.topic)", "error": "\(error)"])
                if attempt > 0 { try? await sleep(.seconds(attempt), on: loop) }
            }
        }
    }
}
