/// Unix sockets of the host for containers. The agent listens in the guest, and opens a stream to a vsock port of the
/// host for each client.
///
/// Each socket has a port, so the host takes no path from the guest.
package enum SocketRelay {
    /// The driver of such a storage. The source is the host's port and the mount point the socket's path in the guest.
    /// The options are the socket's owner and mode: `uid=0`, `gid=999`, `mode=660`.
    package static let driver = "unix-socket"

    /// The client at the guest's end of a stream. A stream begins with it: two big-endian numbers of four bytes.
    package struct Client: Equatable, Sendable {
        package static let length = 8

        package let user: UInt32
        package let group: UInt32

        package init(user: UInt32, group: UInt32) { (self.user, self.group) = (user, group) }

        package var bytes: [UInt8] {
            [user, group].flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
        }

        package init?(_ bytes: [UInt8]) {
            guard bytes.count == Self.length else { return nil }
            func number(_ slice: ArraySlice<UInt8>) -> UInt32 { slice.reduce(0) { $0 << 8 | UInt32($1) } }
            self.init(user: number(bytes[..<4]), group: number(bytes[4...]))
        }
    }
}
