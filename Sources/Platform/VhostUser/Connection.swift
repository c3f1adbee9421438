import Glibc

/// One stream between a socket of ours and a port of the guest, with its credit (virtio 1.2, 5.10.6.3).
final class Connection {
    struct Key: Hashable {
        let hostPort: UInt32
        let guestPort: UInt32
    }

    /// Bytes of the guest that may wait here for a slow reader.
    static let bufferSpace: UInt32 = 256 << 10

    enum State { case asking, open }

    let key: Key
    var state = State.asking
    /// Our end; -1 until the guest has answered.
    var socket: Int32 = -1
    var dial: Dial?

    // What the guest may still get: its buffer less what is under way.
    var peerSpace: UInt32 = 0
    var peerForwarded: UInt32 = 0
    var sent: UInt32 = 0

    // What we took from the guest, what went on to the socket, what we told the guest of it.
    var received: UInt32 = 0
    var forwarded: UInt32 = 0
    var announced: UInt32 = 0

    /// Bytes from the guest that the socket would not take yet, from `pendingStart` on.
    var pending: [UInt8] = []
    var pendingStart = 0

    var hostEnded = false
    var guestEnded = false
    var guestGone = false

    init(_ key: Key) { self.key = key }

    deinit { if socket >= 0 { close(socket) } }

    var hasPending: Bool { pendingStart < pending.count }

    var credit: Int {
        let inFlight = sent &- peerForwarded
        return inFlight >= peerSpace ? 0 : Int(peerSpace - inFlight)
    }
}

/// Somebody who waits for a stream to the guest.
final class Dial: Sendable {
    let port: UInt32
    let deadline: ContinuousClock.Instant
    let answer: @Sendable (Result<Int32, VsockError>) -> Void

    init(
        port: UInt32, deadline: ContinuousClock.Instant, answer: @escaping @Sendable (Result<Int32, VsockError>) -> Void
    ) {
        self.port = port
        self.deadline = deadline
        self.answer = answer
    }
}

/// Why there is no stream to the guest.
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
