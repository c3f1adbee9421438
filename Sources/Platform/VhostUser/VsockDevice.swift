import Glibc
import LinuxKernel
import Synchronization

/// A vsock device for one guest, in user space. It needs no kernel module and no CID of the host.
///
/// The VMM connects to `socketPath` (`vhost-user-vsock-pci`). One thread does all the work, so that a guest can't block
/// other parts of the process. A seccomp filter keeps that thread from open, connect and exec (`clx_confine_device`).
/// A fault in the device doesn't reach the host's files, though it reaches the memory of the process's other threads.
package final class VsockDevice: Sendable {
    /// A limit on what the guest may make the device keep.
    package enum Limit: CaseIterable, Sendable {
        /// Streams at a time. Further ones are reset.
        case streams
        /// Streams that the host's side has not taken yet. Further ones are reset.
        case newStreams
        /// Answers for which the guest offers no buffer. Further ones are dropped.
        case answers

        package var value: Int {
            switch self {
            case .streams: Connection.maxCount
            case .newStreams: CallbackThread.maxCalls
            case .answers: DeviceLoop.maxReplies
            }
        }
    }

    /// Requests to the device's thread: streams to open, and ports to accept streams at.
    struct Requested: Sendable {
        var dials: [Dial] = []
        var listeners: [UInt32: @Sendable (Int32) -> Void] = [:]
        var closed = false
    }

    let requested = Mutex(Requested())
    let wakeUp: WakeUp
    let callbacks: CallbackThread
    private let path: String
    /// Called on the callback thread, once for each limit.
    let reached: @Sendable (Limit) -> Void

    /// The first CID that a guest may have (VMADDR_CID_HOST + 1, vsock(7)).
    package static let firstGuestCID: UInt64 = 3

    /// Listens on a Unix socket at `socketPath`, in place of a stale one, and starts the device.
    /// - Parameter reached: called when the guest has reached a limit, once for each.
    /// - Throws: `SystemError` for lack of a descriptor, when a thread can't be started, or as `UnixSocket.listen`.
    package init(
        socketPath: String, guestCID: UInt64 = firstGuestCID, reached: @escaping @Sendable (Limit) -> Void = { _ in }
    ) throws {
        self.reached = reached
        wakeUp = try WakeUp()
        path = socketPath
        callbacks = try CallbackThread()
        do {
            let listener = SharedDescriptor(try UnixSocket.listen(socketPath, backlog: 1))
            try startThread("vsock") { [self] in DeviceLoop(self, listener: listener, guestCID: guestCID).run() }
        } catch {
            // SAFETY: unlink(2) only reads the path.
            unsafe unlink(socketPath)
            callbacks.end()
            throw error
        }
    }

    /// Opens a stream to a port of the guest. Waits until the guest listens: repeats a refused request every 20 ms.
    /// Repeats it at once when the guest opens a stream to the host, as the agent does when it is up.
    /// - Returns: a non-blocking socket, which the caller owns.
    /// - Throws: `VsockError`: `timedOut` without a stream within `timeout`, `closed` when the device closes first.
    package func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Int32, any Error>) in
            let dial = Dial(port: port, deadline: .now + timeout) { result in
                continuation.resume(with: result.mapError { $0 as any Error })
            }
            let closed = requested.withLock { requested in
                if !requested.closed { requested.dials.append(dial) }
                return requested.closed
            }
            if closed { dial.answer(.failure(.closed)) } else { wakeUp.signal() }
        }
    }

    /// Accepts the streams that the guest opens to `port`. Streams to other ports are refused.
    /// - Parameter accept: owns the socket; called on the callback thread, one call at a time.
    package func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) {
        requested.withLock { $0.listeners[port] = accept }
    }

    package func stopListening(port: UInt32) { requested.withLock { $0.listeners[port] = nil } }

    /// Ends all streams, fails all pending dials, and removes the socket. Idempotent.
    package func close() {
        let first = requested.withLock { requested in
            defer { requested.closed = true }
            return !requested.closed
        }
        guard first else { return }
        // SAFETY: unlink(2) only reads the path.
        unsafe unlink(path)
        wakeUp.signal()
    }
}
