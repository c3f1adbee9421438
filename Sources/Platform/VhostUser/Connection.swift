import Glibc
import LinuxKernel

/// One stream between a socket of ours and a port of the guest, with its credit (virtio 1.2, 5.10.6.3).
final class Connection {
    struct Key: Hashable {
        let hostPort: UInt32
        let guestPort: UInt32
    }

    enum State {
        /// The guest has not answered yet.
        case asking
        case open
        /// The guest has forgotten it; what it sent before still goes to the reader.
        case left
    }

    let key: Key
    private(set) var state = State.asking
    /// Our end of a socket pair; nil until the guest has answered.
    private var socket: FileDescriptor?
    var dial: Dial?

    // What the guest may still get: its buffer less what is under way.
    var peerSpace: UInt32 = 0
    var peerForwarded: UInt32 = 0
    var sent: UInt32 = 0

    /// Bytes of the guest that may wait here for a slow reader, as the guest was told (buf_alloc). Never less than it was: the guest may have
    /// sent them already.
    private(set) var space: UInt32
    // Bytes that went on to the socket, and how many of them the guest has been told of.
    private var forwarded: UInt32 = 0
    private var announced: UInt32 = 0
    /// Bytes from the guest that the socket would not take yet.
    var waiting = ByteRing()

    /// poll(2) says that there are bytes for the guest, or the end of them.
    var isReadable = false
    var hostEnded = false
    var guestEnded = false
    var guestGone = false

    /// - Parameter streams: how many there are, with this one.
    init(_ key: Key, among streams: Int) {
        self.key = key
        space = Self.share(among: streams)
    }

    /// The socket's number; -1 without one.
    var raw: Int32 { socket.raw ?? -1 }

    func open(_ socket: consuming FileDescriptor) {
        state = .open
        self.socket = consume socket
        limitSocket()
    }

    /// Bytes that the guest takes now.
    var credit: Int {
        let inFlight = sent &- peerForwarded
        return inFlight >= peerSpace ? 0 : Int(peerSpace - inFlight)
    }

    /// Bytes that the guest may send now, if it keeps to what it was told.
    var room: Int { Int(space) - waiting.count }

    /// - Returns: whether the guest should hear of it.
    func forward(_ count: Int) -> Bool {
        forwarded &+= UInt32(count)
        return forwarded &- announced > space / 4
    }

    /// What the guest is told now: its room here, and how much has been forwarded.
    func announcement(among streams: Int) -> (space: UInt32, forwarded: UInt32) {
        let share = Self.share(among: streams)
        if share > space {
            space = share
            limitSocket()
        }
        announced = forwarded
        return (space, forwarded)
    }

    /// The guest has reset it.
    func leave() { (state, guestEnded, guestGone) = (.left, true, true) }
}

/// What all streams of a guest take of the host's memory.
extension Connection {
    static let most = 4096
    private static let mostSpace = 256 << 10
    private static let spaceOfAll = 8 << 20

    /// Bytes of a stream that may wait for its reader: a power of two from 256 KiB, for up to 32 streams, to 2 KiB for 4096.
    ///
    /// Streams keep what they once had, and only those that were there when there were n have the share of n: the nth largest has no more than
    /// 8 MiB ÷ n. Together that is 8 MiB × (1 + ln(4096 ÷ 32)), 47 MiB, when all of them wait.
    static func share(among streams: Int) -> UInt32 {
        var space = mostSpace
        while space * streams > spaceOfAll { space /= 2 }
        return UInt32(space)
    }

    /// The kernel holds no more for the reader than we do. It doubles the number (socket(7)).
    private func limitSocket() {
        var half = Int32(space / 2)
        setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &half, socklen_t(MemoryLayout<Int32>.size))
    }
}
