import CLinux
import Glibc
import LinuxKernel
import VhostUser

/// Opens streams to ports of the guest, and takes the streams that the guest opens to ports of the host.
package protocol GuestDialer: Sendable {
    /// A connected, non-blocking stream socket to `port` in the guest; the caller owns it.
    func dial(port: UInt32, timeout: Duration) async throws -> Int32
    /// Hands every connection that the guest makes to `port` of the host to `accept`, which owns it.
    func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws
    func stopListening(port: UInt32)
    func close()
}

extension VsockDevice: GuestDialer {}
