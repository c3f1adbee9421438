import Glibc
import LinuxKernel
import Synchronization

/// A vsock device for one guest, in user space: needs no kernel module and takes no host-wide CID.
///
/// The VMM connects to `socketPath` (`vhost-user-vsock-pci`). All work is done on one thread, so that nothing the guest does
/// can hold up anything else. A filter of system calls lets that thread open, connect and execute nothing (`clx_confine_device`): it keeps a
/// fault in the device from the host's files, though not from the memory of the process's other threads.
package final class VsockDevice: Sendable {
    struct Inbox: Sendable {
        var dials: [Dial] = []
        var listeners: [UInt32: @Sendable (Int32) -> Void] = [:]
        var closed = false
    }

    let inbox = Mutex(Inbox())
    let wakeUp: WakeUp
    let callbacks: CallbackThread
    private let path: String

    /// Binds and listens; a stale file at `socketPath` is replaced.
    package init(socketPath: String, guestCID: UInt64 = 3) throws {
        wakeUp = try WakeUp()
        path = socketPath
        let listener = SharedDescriptor(try UnixSocket.listen(socketPath, backlog: 1))
        callbacks = try CallbackThread()
        do {
            try startThread("vsock") { [self] in DeviceLoop(self, listener: listener, guestCID: guestCID).run() }
        } catch {
            callbacks.end()
            throw error
        }
    }

    /// A stream to the guest's port: our end of a socket pair, non-blocking, which the caller owns.
    ///
    /// Held until the guest listens: a refused request is made again when the guest first opens a stream to the host, which is
    /// how our agent announces itself, and every 20 ms for agents that don't.
    package func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Int32, any Error>) in
            let dial = Dial(port: port, deadline: .now + timeout) { result in
                continuation.resume(with: result.mapError { $0 as any Error })
            }
            let closed = inbox.withLock { inbox in
                if !inbox.closed { inbox.dials.append(dial) }
                return inbox.closed
            }
            if closed { dial.answer(.failure(.closed)) } else { wakeUp.signal() }
        }
    }

    /// Gives every stream that the guest opens to `port` to `accept`, which owns the socket. Other ports are refused.
    /// - Parameter accept: called on a thread of the device's for such calls, one after the other.
    package func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) {
        inbox.withLock { $0.listeners[port] = accept }
    }

    package func stopListening(port: UInt32) { inbox.withLock { $0.listeners[port] = nil } }

    /// Ends all streams, fails all dials, removes the socket. Idempotent.
    package func close() {
        let first = inbox.withLock { inbox in
            defer { inbox.closed = true }
            return !inbox.closed
        }
        guard first else { return }
        unlink(path)
        wakeUp.signal()
    }
}
