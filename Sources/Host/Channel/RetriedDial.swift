import EventLoop
import LinuxKernel

import protocol NIOCore.EventLoop

/// Repeats a dial over a channel that refuses instead of waiting, until the guest listens: nothing reports when it
/// does.
struct RetriedDial {
    private static let retryPause = Duration.milliseconds(20)

    let port: UInt32
    let timeout: Duration
    let loop: any EventLoop
    /// Whether to give up at once.
    let isClosed: @Sendable () -> Bool

    /// - Parameter attempt: blocks; receives the deadline.
    func callAsFunction(
        _ attempt: @escaping @Sendable (ContinuousClock.Instant) throws -> FileDescriptor
    ) async throws -> Int32 {
        let deadline = ContinuousClock.now + timeout
        while true {
            do { return try await blocking("dial") { try attempt(deadline).take() } } catch {
                if isClosed() { throw ChannelError("the guest's vsock is closed") }
                if ContinuousClock.now > deadline {
                    throw ChannelError("the guest did not answer on vsock port \(port) in time: \(error)")
                }
                try await sleep(Self.retryPause, on: loop)
            }
        }
    }
}
