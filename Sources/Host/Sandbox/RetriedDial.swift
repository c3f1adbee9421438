import EventLoop
import LinuxKernel

import protocol NIOCore.EventLoop

/// A dial over a channel that refuses instead of waiting: made again every 20 ms until the guest listens.
struct RetriedDial {
    let port: UInt32
    let timeout: Duration
    let loop: any EventLoop
    /// Whether to give up at once.
    let isClosed: @Sendable () -> Bool

    /// - Parameter attempt: blocks; gets the time at which all is over.
    func callAsFunction(
        _ attempt: @escaping @Sendable (ContinuousClock.Instant) throws -> FileDescriptor
    ) async throws -> Int32 {
        let deadline = ContinuousClock.now + timeout
        while true {
            do { return try await blocking("dial") { try attempt(deadline).take() } } catch {
                if isClosed() { throw SandboxError(.guest, "the guest's vsock is closed") }
                if ContinuousClock.now > deadline {
                    throw SandboxError(.guest, "the guest did not answer on vsock port \(port) in time: \(error)")
                }
                try await sleep(.milliseconds(20), on: loop)
            }
        }
    }
}
