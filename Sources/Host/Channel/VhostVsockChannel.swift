import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Synchronization

import protocol NIOCore.EventLoop

/// The host kernel's vsock (vhost-vsock). The numbers of guests and our ports are unique on the whole host.
final class VhostVsockChannel: GuestChannel {
    private let guest: UInt32
    private let loop: any EventLoop
    private let listeners = Mutex<[UInt32: Listener]>([:])
    private let closed = Mutex(false)

    init(guest: UInt32, loop: any EventLoop) throws(SystemError) {
        // SAFETY: access(2) only reads the path.
        guard unsafe access(Vsock.vhost, R_OK | W_OK) == 0 else {
            throw SystemError(
                "use the host's vsock (guest_channel = \"vhost-vsock\")", Vsock.vhost, errno: errno)
        }
        self.guest = guest
        self.loop = loop
    }

    func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        let dial = RetriedDial(port: port, timeout: timeout, loop: loop) { [self] in closed.withLock { $0 } }
        return try await dial { [guest] _ in try Vsock.connect(guest, port: port) }
    }

    /// Any guest of this host could connect: only this one may.
    func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws {
        let listener = try Listener(vsockPort: port, allowedPeer: guest)
        listeners.withLock { $0[port] = listener }
        try listener.forEachConnection(thread: "vsock-\(port)") { accept($0.take()) }
    }

    func stopListening(port: UInt32) { listeners.withLock { $0.removeValue(forKey: port) }?.stop() }

    func close() {
        closed.withLock { $0 = true }
        for port in listeners.withLock({ Array($0.keys) }) { stopListening(port: port) }
    }
}
