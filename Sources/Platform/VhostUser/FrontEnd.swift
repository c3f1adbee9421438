import CLinux
import Glibc
import LinuxKernel

/// A connection to a VMM, the front end of the vhost-user protocol (QEMU docs/interop/vhost-user.rst).
///
/// It never blocks: a message may come in any number of pieces. A VMM that doesn't read its answers counts as gone.
final class FrontEnd {
    /// A message with the descriptors that came along.
    struct Message {
        let number: UInt32
        let payload: [UInt8]
        let descriptors: [SharedDescriptor]

        /// Little-endian numbers at a byte offset of the payload; 0 beyond its end.
        func short(_ offset: Int) -> UInt32 { offset + 4 <= payload.count ? word(payload, offset) : 0 }
        func long(_ offset: Int) -> UInt64 {
            offset + 8 <= payload.count ? UInt64(short(offset)) | UInt64(short(offset + 4)) << 32 : 0
        }
    }

    enum Progress { case waiting, answered, gone }

    private static let headerLength = 12
    private static let maxPayload = 4096
    /// Flags of a header: the protocol's version, the mark of an answer, and the request for one
    /// (VHOST_USER_NEED_REPLY).
    private static let version: UInt32 = 1
    private static let isReply: UInt32 = 1 << 2
    private static let needsReply: UInt32 = 1 << 3
    /// The size of the largest memory table (VHOST_MEMORY_BASELINE_NREGIONS).
    static let maxDescriptors = 8

    let socket: FileDescriptor
    private let guestCID: UInt64
    // The incomplete message.
    private var bytes: [UInt8] = []
    private var descriptors: [SharedDescriptor] = []

    init(_ socket: consuming FileDescriptor, guestCID: UInt64) {
        self.socket = socket
        self.guestCID = guestCID
        // Changes only this end: the socket comes from accept(2).
        _ = fcntl(self.socket.raw, F_SETFL, O_NONBLOCK)
    }

    /// Reads the available part of a message, and answers it when it is complete.
    /// - Returns: `.gone` when the VMM has hung up or broken the protocol.
    func serve(_ device: DeviceState) -> Progress {
        while true {
            guard let missing else { return .gone }
            if missing == 0 { return answer(device) ? .answered : .gone }
            let result = receive(missing)
            if result == -Int(EAGAIN) { return .waiting }
            if result <= 0 { return .gone }
        }
    }

    /// The number of bytes that the message still lacks; nil for one that is too long.
    private var missing: Int? {
        if bytes.count < Self.headerLength { return Self.headerLength - bytes.count }
        let size = Int(word(bytes, 8))
        return size <= Self.maxPayload ? Self.headerLength + size - bytes.count : nil
    }

    /// - Returns: the number of bytes read, 0 at the end, or -errno.
    private func receive(_ limit: Int) -> Int {
        var numbers = [Int32](repeating: -1, count: Self.maxDescriptors)
        var count = 0
        // SAFETY: `count` is the number of elements; the call returns how many it has set.
        let (more, result) = unsafe readBytes(upTo: limit) {
            // Again after a signal: the call leaves the number that it has set.
            count = numbers.count
            return unsafe clx_recv_fds(socket.raw, $0.baseAddress, $0.count, &numbers, &count)
        }
        guard result > 0 else { return result }
        descriptors += numbers[..<count].map { SharedDescriptor(FileDescriptor(owning: $0)) }
        bytes += more
        return descriptors.count <= Self.maxDescriptors ? result : -Int(E2BIG)
    }

    /// - Returns: false when the VMM has broken the protocol or doesn't read its answers.
    private func answer(_ device: DeviceState) -> Bool {
        let message = Message(
            number: word(bytes, 0), payload: Array(bytes[Self.headerLength...]), descriptors: descriptors)
        let needsReply = word(bytes, 4) & Self.needsReply != 0
        (bytes, descriptors) = ([], [])
        switch device.take(message, guestCID: guestCID) {
        case .answer(let payload): return send(message.number, payload)
        case .done: return !needsReply || send(message.number, little(UInt64(0)))
        case .refused: return !needsReply || send(message.number, little(UInt64(1)))
        case .violation: return false
        }
    }

    private func send(_ request: UInt32, _ payload: [UInt8]) -> Bool {
        let message =
            little(request) + little(Self.version | Self.isReply) + little(UInt32(payload.count)) + payload
        // SAFETY: send(2) only reads the message, within its length.
        return unsafe Glibc.send(socket.raw, message, message.count, Int32(MSG_NOSIGNAL)) == message.count
    }
}

private func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
}

func little<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    // SAFETY: a number has no padding; its bytes are copied at once.
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe Array($0) }
}
