import CLinux
import Glibc
import LinuxKernel
import Synchronization
import VhostUser

/// Plays a session of a VMM and a guest, written as bytes, to a vsock device: messages with descriptors, memory, rings,
/// packets.
///
/// Every input is a session. A byte chooses a step, and the bytes after it are its arguments; where the input ends
/// early they are zeros. So a fuzzer that changes a byte changes one thing that the device sees.
package final class DeviceSession {
    package enum Step: UInt8, CaseIterable {
        /// Does the set-up of a correct VMM before the guest's driver runs: the memory table, and both queues.
        case setUp
        /// Any message: number, flags, number and kind of descriptors, length of the payload, payload.
        case message
        /// Bytes for the guest's memory: offset in units of 16 (two bytes), length, bytes.
        case memory
        /// A doorbell: queue.
        case kick
        /// A packet: operation, host port, guest port, flags, credit and forwarded in units of 4096, length of the
        /// data.
        case packet
        /// A receive buffer: its length, in bytes.
        case buffer
        /// The host's side of the streams: read or close.
        case host
        /// A reset of the device: GET_VRING_BASE for both queues.
        case reset
        /// A dial from the host to a guest's port.
        case dial
    }

    private static let base: UInt64 = 0x1_0000_0000
    private static let memorySize = 1 << 18
    private static let queueSize: UInt32 = 16
    private static let ports: [UInt32] = [1024, 1025, 1, 0, .max, 1 << 30, (1 << 30) + 1, (1 << 30) + 2]

    private let device: VsockDevice
    private let socket: FileDescriptor
    private let file: FileDescriptor
    private let memory: UnsafeMutableRawPointer
    private let receiveKick: SharedDescriptor
    private let transmitKick: SharedDescriptor
    private let call: SharedDescriptor
    /// A descriptor of another type, for messages that take an eventfd or a memfd.
    private let pipe: Pipe
    private let host = HostSide()
    private var available: [UInt16] = [0, 0]
    private var input: ArraySlice<UInt8> = []

    /// Plays one session. What the device does wrong shows in a crash, a sanitizer's report, or a device that no longer
    /// answers.
    package static func play(_ bytes: [UInt8]) throws { try DeviceSession().run(bytes[...]) }

    private init() throws {
        let path = "/tmp/kata-device-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sock"
        device = try VsockDevice(socketPath: path)
        file = try FileDescriptor.memory("session", size: Self.memorySize)
        memory = mmap(nil, Self.memorySize, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
        socket = try UnixSocket.connect(path)
        // A device that has closed the connection, or has stopped reading, must not hold the session.
        _ = fcntl(socket.raw, F_SETFL, O_NONBLOCK)
        receiveKick = try eventDescriptor()
        transmitKick = try eventDescriptor()
        call = try eventDescriptor()
        pipe = try Pipe(nonBlocking: true)
        device.listen(port: 1024) { [host] in host.take($0) }
        device.listen(port: 1025) { close($0) }
    }

    deinit {
        device.close()
        host.closeAll()
        munmap(memory, Self.memorySize)
    }

    private func run(_ bytes: ArraySlice<UInt8>) throws {
        input = bytes
        // Bounded: a session of single bytes could otherwise be very long.
        for _ in 0..<512 where !input.isEmpty {
            try play(Step.allCases[Int(byte()) % Step.allCases.count])
        }
        settle()
    }

    private func play(_ step: Step) throws {
        switch step {
        case .setUp: try setUp()
        case .message: anyMessage()
        case .memory:
            let offset = Int(short()) * 16 % Self.memorySize
            let data = take(Int(byte()))
            data.withUnsafeBytes {
                (memory + offset).copyMemory(from: $0.baseAddress!, byteCount: min($0.count, Self.memorySize - offset))
            }
        case .kick: kick(Int(byte()) % 2)
        case .packet: packet()
        case .buffer:
            let slot = Int(available[0]) % Int(Self.queueSize)
            describe(0, slot, length: UInt32(short()), flags: 2)
            offer(0, slot)
        case .host: host.act(byte())
        case .reset:
            for queue: UInt32 in 0...1 { message(11, bytes(of: queue) + bytes(of: UInt32(0))) }
            settle()
        case .dial:
            let port = Self.ports[Int(byte()) % Self.ports.count]
            Task { [device, host] in
                if let stream = try? await device.dial(port: port, timeout: .milliseconds(5)) { host.take(stream) }
            }
        }
    }

    // MARK: Arguments

    private func byte() -> UInt8 { input.popFirst() ?? 0 }
    private func short() -> UInt16 { UInt16(byte()) | UInt16(byte()) << 8 }

    /// Always `count` bytes, and one at least.
    private func take(_ count: Int) -> [UInt8] {
        let taken = Array(input.prefix(count))
        input = input.dropFirst(count)
        return taken + [UInt8](repeating: 0, count: max(1, count) - taken.count)
    }

    private func bytes<Value: FixedWidthInteger>(of value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    // MARK: The VMM (QEMU, docs/interop/vhost-user.rst)

    private func message(_ number: UInt32, flags: UInt32 = 1, _ payload: [UInt8], _ descriptors: [Int32] = []) {
        let header = bytes(of: number) + bytes(of: flags) + bytes(of: UInt32(payload.count))
        guard (try? socket.send(header, descriptors: descriptors)) != nil else { return }
        _ = payload.withUnsafeBytes { send(socket.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        drainAnswers()
    }

    private func anyMessage() {
        let (number, flags, shape) = (byte(), byte(), byte())
        let kinds = [
            file.raw, receiveKick.raw, call.raw, pipe.readEnd.raw, transmitKick.raw,
        ]
        let descriptors = (0..<Int(shape % 9)).map { kinds[(Int(shape / 9) + $0) % kinds.count] }
        message(UInt32(number), flags: UInt32(flags), Array(take(Int(byte()))), descriptors)
    }

    private func setUp() throws {
        available = [0, 0]
        let region =
            bytes(of: UInt64(0)) + bytes(of: UInt64(Self.memorySize)) + bytes(of: Self.base) + bytes(of: UInt64(0))
        message(5, bytes(of: UInt32(1)) + bytes(of: UInt32(0)) + region, [file.raw])
        for queue: UInt32 in 0...1 {
            memset(memory + ring(Int(queue)), 0, 4096)
            message(8, bytes(of: queue) + bytes(of: Self.queueSize))
            message(10, bytes(of: queue) + bytes(of: UInt32(0)))
            let start = Self.base + UInt64(ring(Int(queue)))
            message(
                9,
                bytes(of: queue) + bytes(of: UInt32(0)) + bytes(of: start) + bytes(of: start + 1024)
                    + bytes(of: start + 2048) + bytes(of: UInt64(0)))
            message(13, bytes(of: UInt64(queue)), [call.raw])
            message(12, bytes(of: UInt64(queue)), [queue == 0 ? receiveKick.raw : transmitKick.raw])
        }
    }

    private func drainAnswers() {
        var answer = [UInt8](repeating: 0, count: 512)
        while recv(socket.raw, &answer, answer.count, Int32(MSG_DONTWAIT)) > 0 {}
    }

    // MARK: The driver (virtio 1.2, 2.7)

    private func ring(_ queue: Int) -> Int { 4096 * (queue + 1) }

    private func describe(_ queue: Int, _ slot: Int, length: UInt32, flags: UInt16) {
        let entry = memory + ring(queue) + slot * 16
        entry.storeBytes(of: UInt64(buffer(queue, slot)), as: UInt64.self)
        (entry + 8).storeBytes(of: length, as: UInt32.self)
        (entry + 12).storeBytes(of: flags, as: UInt16.self)
        (entry + 14).storeBytes(of: 0, as: UInt16.self)
    }

    private func buffer(_ queue: Int, _ slot: Int) -> Int { 65536 * (queue + 1) + slot * 4096 }

    private func offer(_ queue: Int, _ slot: Int) {
        let available = memory + ring(queue) + 2048
        let place = Int(self.available[queue]) % Int(Self.queueSize)
        (available + 4 + 2 * place).storeBytes(of: UInt16(slot), as: UInt16.self)
        self.available[queue] &+= 1
        clx_store16(available + 2, self.available[queue])
        kick(queue)
    }

    private func kick(_ queue: Int) {
        var one: UInt64 = 1
        _ = write(queue == 0 ? receiveKick.raw : transmitKick.raw, &one, 8)
    }

    private func packet() {
        let slot = Int(available[1]) % Int(Self.queueSize)
        let operation = byte()
        let (hostPort, guestPort) = (Self.ports[Int(byte()) % Self.ports.count], UInt32(byte()))
        let (flags, space, forwarded) = (byte(), byte(), byte())
        let length = Int(byte())
        let data = length == 255 ? [UInt8](repeating: 0xff, count: 4000) : Array(take(length).prefix(length))
        var header: [UInt8] = bytes(of: UInt64(3)) + bytes(of: UInt64(2)) + bytes(of: guestPort) + bytes(of: hostPort)
        header += bytes(of: UInt32(data.count)) + bytes(of: UInt16(1)) + bytes(of: UInt16(operation))
        header += bytes(of: UInt32(flags)) + bytes(of: UInt32(space) * 4096) + bytes(of: UInt32(forwarded) * 4096)
        (header + data).withUnsafeBytes {
            (memory + buffer(1, slot)).copyMemory(from: $0.baseAddress!, byteCount: min(4096, $0.count))
        }
        describe(1, slot, length: UInt32(header.count + data.count), flags: 0)
        offer(1, slot)
        if available[1] % 8 == 0 { settle() }
    }

    /// Gives the device a moment to take what was offered, so that a session means the same each time it is played.
    private func settle() {
        let used = memory + ring(1) + 1024
        for _ in 0..<20 where clx_load16(used + 2) != available[1] { usleep(50) }
        drainAnswers()
    }
}

/// The streams that the device has given away, as programs of the host would hold them.
private final class HostSide: Sendable {
    private struct State {
        var streams: [Int32] = []
        var isOver = false
    }
    private let state = Mutex(State())

    func take(_ stream: Int32) {
        let isKept = state.withLock { state in
            if !state.isOver { state.streams.append(stream) }
            return !state.isOver
        }
        if !isKept { close(stream) }
    }

    /// 0: closes the first stream, 1: reads from all, others: writes as many bytes to all.
    func act(_ number: UInt8) {
        state.withLock { state in
            if number == 0, !state.streams.isEmpty { close(state.streams.removeFirst()) }
            var bytes = [UInt8](repeating: number, count: 16384)
            for stream in state.streams {
                if number == 1 {
                    _ = recv(stream, &bytes, bytes.count, Int32(MSG_DONTWAIT))
                } else {
                    _ = send(stream, &bytes, Int(number), Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
                }
            }
        }
    }

    func closeAll() {
        let streams = state.withLock { state in
            defer { state = State(streams: [], isOver: true) }
            return state.streams
        }
        for stream in streams { close(stream) }
    }
}
