import CLinux
import Glibc
import Linux

/// The VMM's side of the vhost-user protocol: sets up memory and queues (QEMU docs/interop/vhost-user.rst).
final class FrontEnd {
    private enum Request: UInt32 {
        case getFeatures = 1
        case setFeatures = 2
        case setOwner = 3
        case resetOwner = 4
        case setMemoryTable = 5
        case setVringSize = 8
        case setVringAddress = 9
        case setVringBase = 10
        case getVringBase = 11
        case setVringKick = 12
        case setVringCall = 13
        case setVringError = 14
        case getProtocolFeatures = 15
        case setProtocolFeatures = 16
        case getQueueCount = 17
        case setVringEnable = 18
        case getConfiguration = 24
    }

    private static let features: UInt64 = 1 << 30 | 1 << 32  // protocol features, VIRTIO_F_VERSION_1
    private static let protocolFeatures: UInt64 = 1 << 0 | 1 << 3 | 1 << 9  // MQ, REPLY_ACK, CONFIG
    private static let longestPayload = 4096

    let socket: FileDescriptor
    private let guestCID: UInt64

    init(_ socket: consuming FileDescriptor, guestCID: UInt64) {
        self.socket = socket
        self.guestCID = guestCID
        // The VMM writes a message at once; a half message must not hold the device for ever.
        self.socket.setReadLimit(.seconds(1))
    }

    /// Reads and answers one message; false when the VMM is gone or breaks the protocol.
    func serve(_ device: DeviceState) -> Bool {
        var header = [UInt8](repeating: 0, count: 12)
        var descriptors = [Int32](repeating: -1, count: 16)
        var count = descriptors.count
        let got = clx_recv_fds(socket.raw, &header, header.count, &descriptors, &count)
        var received = Array(descriptors.prefix(count))
        defer { for descriptor in received where descriptor >= 0 { close(descriptor) } }
        guard got == 12 else { return false }
        let number = word(header, 0)
        let flags = word(header, 4)
        let size = Int(word(header, 8))
        guard size <= Self.longestPayload, let payload = readPayload(size) else { return false }
        func long(_ offset: Int) -> UInt64 {
            offset + 8 <= payload.count ? UInt64(word(payload, offset)) | UInt64(word(payload, offset + 4)) << 32 : 0
        }
        func short(_ offset: Int) -> UInt32 { offset + 4 <= payload.count ? word(payload, offset) : 0 }
        func takeDescriptor() -> Int32 {
            guard let first = received.first else { return -1 }
            received.removeFirst()
            return first
        }
        var answered = false
        func answer(_ bytes: [UInt8]) {
            answered = true
            send(number, bytes)
        }
        var failed = false

        switch Request(rawValue: number) {
        case .getFeatures: answer(bytes(Self.features))
        case .getProtocolFeatures: answer(bytes(Self.protocolFeatures))
        case .getQueueCount: answer(bytes(UInt64(device.queues.count)))
        case .getConfiguration:
            let configuration = bytes(guestCID)
            let offset = Int(min(short(0), 8))
            let length = Int(min(short(4), 256))
            var reply = Array(payload.prefix(12))
            for index in 0..<length { reply.append(offset + index < 8 ? configuration[offset + index] : 0) }
            answer(reply)
        case .setMemoryTable:
            let regions = Int(min(short(0), 8))
            guard regions == received.count, payload.count >= 8 + regions * 32 else { return false }
            let table = (0..<regions).map { index in
                GuestMemory.Description(
                    guestAddress: long(8 + index * 32), size: long(16 + index * 32), userAddress: long(24 + index * 32),
                    offset: long(32 + index * 32))
            }
            do { try device.memory.replace(table, descriptors: received) } catch { failed = true }
            for index in device.queues.indices { device.queues[index].resolve(in: device.memory) }
        case .setVringSize:
            if let index = queue(short(0), device) {
                device.queues[index].resize(short(4), in: device.memory)
            } else {
                failed = true
            }
        case .setVringAddress:
            if let index = queue(short(0), device) {
                device.queues[index].place(descriptors: long(8), available: long(24), used: long(16), in: device.memory)
            } else {
                failed = true
            }
        case .setVringBase:
            if let index = queue(short(0), device) {
                device.queues[index].lastAvailable = UInt16(truncatingIfNeeded: short(4))
            } else {
                failed = true
            }
        case .getVringBase:
            guard let index = queue(short(0), device) else { return false }
            device.queues[index].enabled = false
            device.setKick(index, -1)
            device.wasStopped = true
            answer(bytes(UInt64(short(0)) | UInt64(device.queues[index].lastAvailable) << 32))
        case .setVringKick:
            if let index = queue(short(0) & 0xff, device) {
                device.setKick(index, takeDescriptor())
                device.queues[index].enabled = true
            } else {
                failed = true
            }
        case .setVringCall:
            if let index = queue(short(0) & 0xff, device) {
                device.setCall(index, takeDescriptor())
            } else {
                failed = true
            }
        case .setVringEnable:
            if let index = queue(short(0), device) {
                device.queues[index].enabled = short(4) != 0
            } else {
                failed = true
            }
        case .setFeatures, .setProtocolFeatures, .setOwner, .resetOwner, .setVringError: break
        case nil: failed = true
        }
        // The VMM asked for an answer to a message that has none (REPLY_ACK).
        if flags & 8 != 0, !answered { send(number, bytes(UInt64(failed ? 1 : 0))) }
        return true
    }

    private func queue(_ number: UInt32, _ device: DeviceState) -> Int? {
        Int(number) < device.queues.count ? Int(number) : nil
    }

    private func readPayload(_ size: Int) -> [UInt8]? {
        var payload = [UInt8](repeating: 0, count: size)
        var filled = 0
        while filled < size {
            let count = payload.withUnsafeMutableBytes { read(socket.raw, $0.baseAddress! + filled, size - filled) }
            if count <= 0 { return nil }
            filled += count
        }
        return payload
    }

    private func send(_ request: UInt32, _ payload: [UInt8]) {
        var message: [UInt8] = []
        for value in [request, 5, UInt32(payload.count)] { message += bytes(value) }
        message += payload
        _ = message.withUnsafeBytes { Glibc.send(socket.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    private func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }

    private func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}

/// What the VMM sets up: memory, the three queues (receive, transmit, event) and their eventfds.
final class DeviceState {
    let memory = GuestMemory()
    var queues = [Virtqueue](repeating: Virtqueue(), count: 3)
    /// The guest has reset the device, or is gone: its driver knows of no stream any more.
    var wasStopped = false
    private(set) var kicks: [Int32] = [-1, -1, -1]
    private var calls: [Int32] = [-1, -1, -1]

    deinit { for descriptor in kicks + calls where descriptor >= 0 { close(descriptor) } }

    func setKick(_ queue: Int, _ descriptor: Int32) {
        if kicks[queue] >= 0 { close(kicks[queue]) }
        kicks[queue] = descriptor
    }

    func setCall(_ queue: Int, _ descriptor: Int32) {
        if calls[queue] >= 0 { close(calls[queue]) }
        calls[queue] = descriptor
        // Whatever it is, a full one doesn't hold the device up.
        if descriptor >= 0 { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
    }

    /// Tells the guest that chains came back, when it wants to know.
    func interrupt(_ queue: Int) {
        guard calls[queue] >= 0, queues[queue].wantsInterrupt else { return }
        var one: UInt64 = 1
        _ = write(calls[queue], &one, 8)
    }
}
