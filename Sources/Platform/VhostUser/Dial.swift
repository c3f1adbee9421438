import Glibc
import LinuxKernel

/// A pending request for a stream to the guest.
final class Dial: Sendable {
    let port: UInt32
    let deadline: ContinuousClock.Instant
    /// Called once, on the callback thread.
    let answer: @Sendable (Result<Int32, VsockError>) -> Void

    init(
        port: UInt32, deadline: ContinuousClock.Instant, answer: @escaping @Sendable (Result<Int32, VsockError>) -> Void
    ) {
        self.port = port
        self.deadline = deadline
        self.answer = answer
    }
}

/// The reason why there is no stream to the guest.
package enum VsockError: Error, Equatable, CustomStringConvertible {
    case timedOut(port: UInt32)
    case closed

    package var description: String {
        switch self {
        case .timedOut(let port): "the guest did not answer on vsock port \(port) in time"
        case .closed: "the guest's vsock device is gone"
        }
    }
}
