import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Synchronization

import protocol NIOCore.EventLoop

/// The host kernel's vsock (vhost-vsock). The numbers of guests and our ports are unique on the whole host.
final class VhostVsockChannel: GuestChannel {
    private static let device = "/dev/vhost-vsock"

    private let guest: UInt32
    private let loop: any EventLoop
    private let listeners = Mutex<[UInt32: Int32]>([:])
    private let closed = Mutex(false)

    init(guest: UInt32, loop: any EventLoop) throws(SystemError) {
        guard access(Self.device, R_OK | W_OK) == 0 else {
            throw SystemError(
                "use the host's vsock (guest_channel = \"vhost-vsock\")", Self.device, errno: errno)
        }
        self.guest = guest
        self.loop = loop
    }

    func dial(port: UInt32, timeout: Duration) async throws -> Int32 {
        let dial = RetriedDial(port: port, timeout: timeout, loop: loop) { [self] in closed.withLock { $0 } }
        return try await dial { [guest] _ in try Vsock.connect(guest, port: port) }
    }

    func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws {
        // The thread owns the descriptor: its number can't be reused while accept(2) uses it.
        let listener = SharedDescriptor(
            FileDescriptor(owning: try checkNegativeErrno("listen on", "vsock port \(port)", clx_listen_vsock(port))))
        try startThread("vsock-\(port)") { [guest] in
            while true {
                var peer: UInt32 = 0
                let socket = clx_accept_vsock(listener.raw, &peer)
                if socket >= 0 {
                    // Rejects other guests: any guest of this host could connect.
                    if peer == guest { accept(socket) } else { Glibc.close(socket) }
                } else if socket != -EINTR, socket != -ECONNABORTED {
                    return
                }
            }
        }
        listeners.withLock { $0[port] = listener.raw }
    }

    func stopListening(port: UInt32) {
        if let listener = listeners.withLock({ $0.removeValue(forKey: port) }) { shutdown(listener, Int32(SHUT_RDWR)) }
    }

    func close() {
        closed.withLock { $0 = true }
        for port in listeners.withLock({ Array($0.keys) }) { stopListening(port: port) }
    }
}
