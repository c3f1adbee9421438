import CLinux
import Glibc
import LinuxKernel
import TestSupport

@testable import VhostUser

/// A VMM and a guest driver in one: sets the device up over its socket, then drives the rings in a shared memory file.
final class FakeGuest {
    static let base: UInt64 = 0x1_0000_0000
    static let memorySize = 4 << 20
    static let queueSize: UInt32 = 16
    /// Bytes of a buffer, of which each queue's slots have one.
    static let bufferSize = 64 << 10

    let memory: UnsafeMutableRawPointer
    let file: FileDescriptor
    let socket: FileDescriptor
    let kicks: [SharedDescriptor]
    private let calls: [SharedDescriptor]
    private var available: [UInt16] = [0, 0, 0]
    private var seen: [UInt16] = [0, 0, 0]

    init(devicePath: String) throws {
        file = try FileDescriptor.memory("guest", size: Self.memorySize)
        let raw = file.raw
        memory = mmap(nil, Self.memorySize, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0)!
        socket = try UnixSocket.connect(devicePath)
        kicks = try (0..<3).map { _ in try eventDescriptor() }
        calls = try (0..<3).map { _ in try eventDescriptor() }
        // Its answer tells that the device serves this connection: what the one before it left behind is gone.
        _ = try ask(1, [])
        try shareMemory()
        try setUp()
    }

    /// One region: guest-physical 0 up, user address `base` up.
    func shareMemory() throws {
        try message(5, u32(1) + u32(0) + u64(0) + u64(UInt64(Self.memorySize)) + u64(Self.base) + u64(0), [file.raw])
    }

    /// Acts as a driver does after a reset of its device.
    func setUp() throws {
        (available, seen) = ([0, 0, 0], [0, 0, 0])
        for queue in 0..<3 {
            let number = UInt32(queue)
            try message(8, u32(number) + u32(Self.queueSize))
            try message(10, u32(number) + u32(0))
            let ring = Self.base + UInt64(ringOffset(queue))
            try message(9, u32(number) + u32(0) + u64(ring) + u64(ring + 1024) + u64(ring + 2048) + u64(0))
            try message(13, u64(UInt64(queue)), [calls[queue].raw])
            try message(12, u64(UInt64(queue)), [kicks[queue].raw])
        }
    }

    /// Acts as a VMM does when the guest resets the device.
    func stop() throws {
        for queue in 0..<2 {
            _ = try ask(11, u32(UInt32(queue)) + u32(0))
            memset(memory + ringOffset(queue), 0, 4096)
        }
    }

    deinit { munmap(memory, Self.memorySize) }

    func ringOffset(_ queue: Int) -> Int { 4096 * (queue + 1) }
    func bufferOffset(_ queue: Int, _ slot: Int) -> Int { (1 << 20) * (queue + 1) + slot * Self.bufferSize }

    func message(_ number: UInt32, _ payload: [UInt8], _ descriptors: [Int32] = [], flags: UInt32 = 1) throws {
        try socket.send(u32(number) + u32(flags) + u32(UInt32(payload.count)), descriptors: descriptors)
        if !payload.isEmpty {
            _ = payload.withUnsafeBytes { Glibc.send(socket.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        }
    }

    /// Sends a message and waits for its answer: of one that has none, the device's word that it has done it (0), or
    /// not (1).
    func ask(_ number: UInt32, _ payload: [UInt8], _ descriptors: [Int32] = []) throws -> UInt64 {
        try message(number, payload, descriptors, flags: 9)
        var answer = [UInt8](repeating: 0, count: 20)
        let count = try check("read", "an answer") { recv(socket.raw, &answer, answer.count, Int32(MSG_WAITALL)) }
        guard count == answer.count else { throw Silence() }
        return answer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 12, as: UInt64.self) }
    }

    /// Writes a descriptor of a ring; nothing is checked, on purpose.
    func describe(_ queue: Int, _ slot: Int, address: UInt64, length: UInt32, flags: UInt16, next: UInt16 = 0) {
        let entry = memory + ringOffset(queue) + slot * 16
        entry.storeBytes(of: address, as: UInt64.self)
        (entry + 8).storeBytes(of: length, as: UInt32.self)
        (entry + 12).storeBytes(of: flags, as: UInt16.self)
        (entry + 14).storeBytes(of: next, as: UInt16.self)
    }

    /// Makes a chain available and kicks.
    func offer(_ queue: Int, head: UInt16, advance: UInt16 = 1) {
        let ring = memory + ringOffset(queue) + 2048
        (ring + 4 + 2 * Int(available[queue] % UInt16(Self.queueSize))).storeBytes(of: head, as: UInt16.self)
        available[queue] &+= advance
        clx_store16(ring + 2, available[queue])
        kick(queue)
    }

    func kick(_ queue: Int) {
        var one: UInt64 = 1
        _ = Glibc.write(kicks[queue].raw, &one, 8)
    }

    /// Gives the device one receive buffer.
    func offerReceiveBuffer(length: UInt32 = 4096) {
        let slot = Int(available[0] % UInt16(Self.queueSize))
        describe(0, slot, address: UInt64(bufferOffset(0, slot)), length: length, flags: 2)
        offer(0, head: UInt16(slot))
    }

    func transmit(_ packet: VsockPacket, _ data: [UInt8] = []) {
        let slot = Int(available[1] % UInt16(Self.queueSize))
        let buffer = memory + bufferOffset(1, slot)
        packet.write(to: buffer)
        data.withUnsafeBytes {
            if let base = $0.baseAddress { (buffer + 44).copyMemory(from: base, byteCount: $0.count) }
        }
        describe(1, slot, address: UInt64(bufferOffset(1, slot)), length: UInt32(44 + data.count), flags: 0)
        offer(1, head: UInt16(slot))
    }

    /// The next packet of the device, or nil when none comes within two seconds.
    func receive() async -> (packet: VsockPacket, data: [UInt8])? {
        for _ in 0..<2000 {
            if let next = takeUsed() { return next }
            try? await Task.sleep(for: .milliseconds(1))
        }
        return nil
    }

    /// Heads of the chains that the device gave back to the transmit queue.
    var transmitted: [UInt32] {
        let used = memory + ringOffset(1) + 1024
        return (0..<Int(clx_load16(used + 2))).map { (used + 4 + $0 * 8).load(as: UInt32.self) }
    }

    /// Chains that the device gave back to the receive queue, at most the last sixteen of which are right.
    var received: [(head: Int, written: Int)] {
        let used = memory + ringOffset(0) + 1024
        return (0..<Int(clx_load16(used + 2))).map { index in
            let entry = used + 4 + index % Int(Self.queueSize) * 8
            return (Int(clx_load32(entry)), Int(clx_load32(entry + 4)))
        }
    }

    /// Whether the transmit queue has no place left.
    var isFull: Bool {
        available[1] &- clx_load16(memory + ringOffset(1) + 1024 + 2) >= UInt16(Self.queueSize)
    }

    /// Whether the device has not taken yet all that was transmitted.
    var waitsForDevice: Bool { clx_load16(memory + ringOffset(1) + 1024 + 2) != available[1] }

    /// The next packet of the device that is there already.
    func receiveNow() -> VsockPacket? { takeUsed()?.packet }

    private func takeUsed() -> (packet: VsockPacket, data: [UInt8])? {
        let used = memory + ringOffset(0) + 1024
        guard clx_load16(used + 2) != seen[0] else { return nil }
        let entry = used + 4 + Int(seen[0] % UInt16(Self.queueSize)) * 8
        let slot = Int(entry.load(as: UInt32.self))
        let written = Int((entry + 4).load(as: UInt32.self))
        seen[0] &+= 1
        let buffer = memory + bufferOffset(0, slot)
        let data = Array(UnsafeRawBufferPointer(start: buffer + 44, count: max(0, written - 44)))
        return (VsockPacket(buffer), data)
    }
}

extension FakeGuest {
    struct Silence: Error {}

    /// The next packet of the device.
    func next() async throws -> (packet: VsockPacket, data: [UInt8]) {
        guard let next = await receive() else { throw Silence() }
        return next
    }
}

func u32(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
func u64(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
