import EventLoop
import Glibc
import Logging
import NIOCore
import ShimAPI
import SwiftProtobuf
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
            for await envelope in stream { await self?.forward(envelope) }
        }
    }

    nonisolated func publish(_ topic: String, _ message: some Message) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var envelope = Containerd_Services_Events_Ttrpc_V1_Envelope()
        envelope.timestamp = Google_Protobuf_Timestamp(time)
        envelope.namespace = namespace
        envelope.topic = topic
        envelope.event.typeURL = type(of: message).protoMessageName
        envelope.event.value = (try? message.serializedBytes()) ?? .init()
        queue.yield(envelope)
    }

    private func forward(_ envelope: Containerd_Services_Events_Ttrpc_V1_Envelope) async {
        guard let address else { return }
        var request = Containerd_Services_Events_Ttrpc_V1_ForwardRequest()
        request.envelope = envelope
        for attempt in 1...5 {
            do {
                if connection == nil { connection = try await RPCClient.connect(unixPath: address, on: loop) }
                guard let connection else { return }
                let _: Google_Protobuf_Empty = try await connection.call(
                    "containerd.services.events.ttrpc.v1.Events", "Forward", request, timeout: .seconds(5), metadata: [:])
                return
            } catch {
                connection = nil
                log.warning("event not delivered", metadata: ["topic": "\(envelope.topic)", "error": "\(error)"])
                try? await sleep(.seconds(attempt), on: loop)
            }
        }
    }
}
