import Glibc
import LinuxKernel

/// A stream between a socket of the host and a port of the guest, with its credit (virtio 1.2, 5.10.6.3).
final class Connection {
    struct Key: Hashable {
        let hostPort: UInt32
        let guestPort: UInt32
    }

    enum State {
        /// The guest has not answered yet.
        case asking
        case open
        /// The guest has reset the stream; the bytes it sent before still go to the reader.
        case left
    }

    let key: Key
    private(set) var state = State.asking
    /// The device's end of a socket pair; nil until the guest has answered.
    private var socket: FileDescriptor?
    var dial: Dial?

    /// The size of the guest's buffer (buf_alloc).
    var peerSpace: UInt32 = 0
    /// The bytes that the guest has taken out of it (fwd_cnt).
    var peerForwarded: UInt32 = 0
    /// The bytes sent to the guest.
    var sent: UInt32 = 0

    /// The size of our buffer for a slow reader, as announced to the guest (buf_alloc). It never shrinks: the guest may
    /// have sent as much already.
    private(set) var space: UInt32
    /// The bytes written to the socket, and how many of them were announced to the guest (fwd_cnt).
    private var forwarded: UInt32 = 0
    private var announced: UInt32 = 0
    /// Bytes from the guest that the socket has not taken yet.
    var waiting = ByteRing()

    /// Whether poll(2) has reported bytes for the guest, or end of file.
    var isReadable = false
    var hostEnded = false
    var guestEnded = false
    var guestGone = false

    /// - Parameter streams: the number of streams, this one included.
    init(_ key: Key, among streams: Int) {
        self.key = key
        space = Self.share(among: streams)
    }

    /// The socket's number; -1 without a socket.
    var raw: Int32 { socket.raw ?? -1 }

    func open(_ socket: consuming FileDescriptor) {
        state = .open
        self.socket = consume socket
        limitSocket()
    }

    /// The number of bytes that the guest has room for.
    var credit: Int {
        let inFlight = sent &- peerForwarded
        return inFlight >= peerSpace ? 0 : Int(peerSpace - inFlight)
    }

    /// The number of bytes that the guest may send now.
    var room: Int { Int(space) - waiting.count }

    /// Counts bytes that went to the socket.
    /// - Returns: whether a credit update is due.
    func forward(_ count: Int) -> Bool {
        forwarded &+= UInt32(count)
        return forwarded &- announced > space / 4
    }

    /// The credit to announce to the guest: buf_alloc and fwd_cnt.
    func announcement(among streams: Int) -> (space: UInt32, forwarded: UInt32) {
        let share = Self.share(among: streams)
        if share > space {
            space = share
            limitSocket()
        }
        announced = forwarded
        return (space, forwarded)
    }

    /// Records the guest's reset.
    func leave() { (state, guestEnded, guestGone) = (.left, true, true) }
}

/// Limits of the host memory that all streams of a guest use together.
extension Connection {
    static let maxCount = 4096
    private static let maxSpace = 256 << 10
    private static let maxTotalSpace = 8 << 20

    /// The buffer size of a new stream: a power of two from 256 KiB, for up to 32 streams, to 2 KiB for 4096.
    ///
    /// A stream keeps its size when more streams come, so the nth largest has at most 8 MiB ÷ n. All buffers together
    /// are at most 8 MiB × (1 + ln(4096 ÷ 32)), which is 47 MiB.
    static func share(among streams: Int) -> UInt32 {
        var space = maxSpace
        while space * streams > maxTotalSpace { space /= 2 }
        return UInt32(space)
    }

    /// Limits the kernel's buffer to the size of ours. The kernel doubles the number (socket(7)).
    private func limitSocket() {
        var half = Int32(space / 2)
        // SAFETY: setsockopt(2) only reads `half`, within its size.
        unsafe setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &half, socklen_t(MemoryLayout<Int32>.size))
    }
}
