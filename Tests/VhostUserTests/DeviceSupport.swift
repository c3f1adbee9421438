import Glibc
import LinuxKernel
import Synchronization
import TestSupport

@testable import VhostUser

/// A device and its guest, which are gone after `body`.
func withDevice(_ body: (VsockDevice, FakeGuest) async throws -> Void) async throws {
    let path = "/tmp/vsock-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sock"
    let device = try VsockDevice(socketPath: path)
    defer { device.close() }
    let guest = try FakeGuest(devicePath: path)
    try await body(device, guest)
}

func packet(_ operation: VsockPacket.Operation, from: UInt32, to: UInt32, length: UInt32 = 0) -> VsockPacket {
    VsockPacket(
        sourceCID: 3, destinationCID: 2, sourcePort: from, destinationPort: to, length: length,
        operation: operation.rawValue, bufferSpace: 65536)
}

/// Bytes that arrive on a socket within two seconds; none at its end.
func read(_ socket: Int32, _ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
    _ = Glibc.poll(&poll, 1, 2000)
    let got = Glibc.read(socket, &bytes, count)
    return Array(bytes.prefix(max(0, got)))
}

func write(_ socket: Int32, _ bytes: [UInt8]) { _ = Glibc.write(socket, bytes, bytes.count) }

/// Streams that the device gave away, in their order.
final class Accepted: Sendable {
    private let sockets = Mutex<[Int32]>([])

    func take(_ socket: Int32) { sockets.withLock { $0.append(socket) } }

    /// The caller closes it.
    func next() async throws -> Int32 {
        try await eventually { sockets.withLock { !$0.isEmpty } }
        return sockets.withLock { $0.removeFirst() }
    }
}

extension FakeGuest {
    /// Opens a stream to the device's port 2000.
    /// - Returns: its other end, which the caller closes.
    func open(_ device: VsockDevice, from port: UInt32 = 5, space: UInt32 = 65536) async throws -> (
        socket: Int32, answer: VsockPacket
    ) {
        let accepted = Accepted()
        device.listen(port: 2000) { accepted.take($0) }
        var request = packet(.request, from: port, to: 2000)
        request.bufferSpace = space
        offerReceiveBuffer()
        transmit(request)
        return (try await accepted.next(), try await next().packet)
    }

    /// Sends bytes until so many wait for their reader that a part of them waits in the device.
    /// - Returns: how many; each is 1.
    func fill(_ answer: VsockPacket, from port: UInt32 = 5) async throws -> Int {
        let data = [UInt8](repeating: 1, count: 4000)
        let count = Int(answer.bufferSpace) / data.count
        for _ in 0..<count {
            transmit(packet(.readWrite, from: port, to: 2000, length: UInt32(data.count)), data)
            try await settle()
        }
        return count * data.count
    }

    /// Waits until the device has taken all.
    func settle() async throws { try await eventually(every: .microseconds(50)) { !waitsForDevice } }
}

/// Threads of this process.
enum Threads {
    /// The youngest of a name.
    static func newest(_ name: String) -> pid_t? {
        Files.list("/proc/self/task").compactMap { pid_t($0) }.filter {
            (try? Files.readText("/proc/self/task/\($0)/comm")) == name + "\n"
        }.max()
    }

    /// Processor time that a thread has used.
    static func time(of thread: pid_t) -> Duration {
        var time = timespec()
        // The clock of a thread (MAKE_THREAD_CPUCLOCK, include/linux/posix-timers.h).
        clock_gettime(clockid_t(truncatingIfNeeded: ~Int(thread) << 3 | 6), &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    static func status(of thread: pid_t, _ field: String) -> String? {
        (try? Files.readText("/proc/self/task/\(thread)/status"))?.split(separator: "\n").first {
            $0.hasPrefix(field + ":")
        }.map { String($0.split(whereSeparator: \.isWhitespace).last!) }
    }
}
