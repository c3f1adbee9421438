import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import VhostUser

@Suite("The vsock device", .serialized, .timeLimit(.minutes(5)))
struct VsockDeviceTests {
    @Test("a dial reaches a listening guest and bytes go both ways")
    func dialAndEcho() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            async let dialled = device.dial(port: 1024, timeout: .longWait)
            let request = try await guest.next().packet
            #expect(request.operation == VsockPacket.Operation.request.rawValue)
            #expect(request.destinationPort == 1024)
            guest.transmit(packet(.response, from: 1024, to: request.sourcePort))
            let socket = try await dialled
            defer { close(socket) }
            _ = Array("ping".utf8).withUnsafeBytes { Glibc.write(socket, $0.baseAddress, 4) }
            let data = try await guest.next()
            #expect(data.packet.operation == VsockPacket.Operation.readWrite.rawValue)
            #expect(data.data == Array("ping".utf8))
            guest.transmit(packet(.readWrite, from: 1024, to: request.sourcePort, length: 4), Array("pong".utf8))
            #expect(read(socket, 16) == Array("pong".utf8))
        }
    }

    @Test("a dial is held until the guest listens")
    func dialHeld() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            async let dialled = device.dial(port: 1024, timeout: .longWait)
            let first = try await guest.next().packet
            guest.transmit(packet(.reset, from: 1024, to: first.sourcePort))
            let second = try await guest.next().packet
            #expect(second.operation == VsockPacket.Operation.request.rawValue)
            guest.transmit(packet(.response, from: 1024, to: second.sourcePort))
            close(try await dialled)
        }
    }

    @Test("a guest that resets its device ends its streams; a dial that waits reaches the next driver")
    func reset() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            async let first = device.dial(port: 1024, timeout: .longWait)
            let request = try await guest.next().packet
            guest.transmit(packet(.response, from: 1024, to: request.sourcePort))
            let socket = try await first
            defer { close(socket) }
            async let second = device.dial(port: 1025, timeout: .longWait)
            _ = try await guest.next()
            try guest.stop()
            #expect(read(socket, 8).isEmpty)
            try guest.setUp()
            for _ in 0..<4 { guest.offerReceiveBuffer() }
            let again = try await guest.next().packet
            #expect(again.destinationPort == 1025)
            guest.transmit(packet(.response, from: 1025, to: again.sourcePort))
            close(try await second)
        }
    }

    @Test("a dial to a silent guest ends at its deadline")
    func dialTimesOut() async throws {
        try await withDevice { device, guest in
            await #expect(throws: VsockError.timedOut(port: 9)) {
                try await device.dial(port: 9, timeout: .milliseconds(50))
            }
        }
    }

    @Test("closing the device fails the dials that wait")
    func closeFailsDials() async throws {
        try await withDevice { device, guest in
            let dialled = Task { try await device.dial(port: 9, timeout: .longWait) }
            try await Task.sleep(for: .microseconds(20_000))
            device.close()
            await #expect(throws: VsockError.closed) { try await dialled.value }
        }
    }

    @Test("the guest reaches a port that is listened on, and no other")
    func guestConnects() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            let accepted = Accepted()
            device.listen(port: 2000) { accepted.take($0) }
            // Has no answer: from here on the two queues are at different buffers.
            guest.transmit(packet(.reset, from: 5, to: 2001))
            guest.transmit(packet(.request, from: 5, to: 2001))
            #expect(await guest.receive()?.packet.operation == VsockPacket.Operation.reset.rawValue)
            guest.transmit(packet(.request, from: 5, to: 2000))
            #expect(await guest.receive()?.packet.operation == VsockPacket.Operation.response.rawValue)
            guest.transmit(packet(.readWrite, from: 5, to: 2000, length: 2), Array("hi".utf8))
            let socket = try await accepted.next()
            #expect(read(socket, 8) == Array("hi".utf8))
            var end = packet(.shutdown, from: 5, to: 2000)
            end.flags = 3
            guest.transmit(end)
            #expect(read(socket, 8).isEmpty)
            close(socket)
            #expect(guest.transmitted == [0, 1, 2, 3, 4])
        }
    }

    @Test("the host never sends more than the guest's credit")
    func creditHolds() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            let accepted = Accepted()
            device.listen(port: 2000) { accepted.take($0) }
            var request = packet(.request, from: 5, to: 2000)
            request.bufferSpace = 10
            guest.transmit(request)
            _ = await guest.receive()
            let socket = try await accepted.next()
            defer { close(socket) }
            _ = [UInt8](repeating: 7, count: 100).withUnsafeBytes { Glibc.write(socket, $0.baseAddress, $0.count) }
            #expect(await guest.receive()?.data.count == 10)
            var update = packet(.creditUpdate, from: 5, to: 2000)
            update.bufferSpace = 10
            update.forwarded = 6
            guest.transmit(update)
            #expect(await guest.receive()?.data.count == 6)
        }
    }

    @Test("a guest that overruns our buffer loses its stream, nothing else")
    func overrun() async throws {
        try await withDevice { device, guest in
            let accepted = Accepted()
            device.listen(port: 2000) { accepted.take($0) }
            for _ in 0..<4 { guest.offerReceiveBuffer() }
            guest.transmit(packet(.request, from: 5, to: 2000))
            _ = await guest.receive()
            let data = [UInt8](repeating: 1, count: 4000)
            for _ in 0..<400 {
                guest.transmit(packet(.readWrite, from: 5, to: 2000, length: 4000), data)
                try await Task.sleep(for: .microseconds(300))
            }
            var ended = false
            while !ended, let answer = await guest.receive() {
                ended = answer.packet.operation == VsockPacket.Operation.reset.rawValue
                guest.offerReceiveBuffer()
            }
            #expect(ended)
            close(try await accepted.next())
        }
    }

    @Test("hostile rings neither crash nor hang the device", arguments: 0..<40)
    func hostileRings(seed: Int) async throws {
        try await withDevice { device, guest in
            var random = Seeded(UInt64(seed) &+ 1)
            for _ in 0..<Fuzz.rounds(300, of: "virtqueues: descriptors, indices, lengths") {
                let queue = Int.random(in: 0...1, using: &random)
                for slot in 0..<16 {
                    let addresses: [UInt64] = [
                        0, 65536, 131072, UInt64(FakeGuest.memorySize) - 8, .max, .max - 44,
                        UInt64.random(in: 0...(1 << 21), using: &random),
                    ]
                    let lengths: [UInt32] = [
                        0, 1, 43, 44, 45, 4096, .max, UInt32.random(in: 0...70000, using: &random),
                    ]
                    guest.describe(
                        queue, slot, address: addresses.randomElement(using: &random)!,
                        length: lengths.randomElement(using: &random)!,
                        flags: UInt16.random(in: 0...7, using: &random), next: UInt16.random(in: 0...20, using: &random)
                    )
                }
                let noise = guest.memory + 65536 + Int.random(in: 0..<4096, using: &random)
                noise.storeBytes(of: UInt8.random(in: 0...255, using: &random), as: UInt8.self)
                guest.offer(
                    queue, head: UInt16.random(in: 0...17, using: &random),
                    advance: Int.random(in: 0...50, using: &random) == 0 ? 40 : 1)
            }
            await #expect(throws: VsockError.self) { try await device.dial(port: 1, timeout: .milliseconds(20)) }
        }
    }

    @Test("packets with any lengths, ports, operations and credit cost their stream, and no other one")
    func hostilePackets() async throws {
        try await withDevice { device, guest in
            for _ in 0..<8 { guest.offerReceiveBuffer() }
            device.listen(port: 2000) { socket in close(socket) }
            let kept = Accepted()
            device.listen(port: 2001) { kept.take($0) }
            guest.transmit(packet(.request, from: 9, to: 2001))
            _ = try await guest.next()
            var random = Seeded(7)
            let numbers: [UInt32] = [
                0, 1, 43, 44, 65536, 0x7fff_ffff, 0x8000_0000, .max, UInt32.random(in: 0 ... .max, using: &random),
            ]
            for round in 0..<Fuzz.rounds(4000, of: "vsock packets") {
                var next = VsockPacket(
                    sourceCID: [3, 3, 3, 3, 2, 0, .max].randomElement(using: &random)!,
                    destinationCID: [2, 2, 2, 2, 3, 0, .max].randomElement(using: &random)!,
                    sourcePort: UInt32.random(in: 10...300, using: &random),
                    destinationPort: [2000, 2000, 1024, 0, .max, 1 << 30].randomElement(using: &random)!,
                    operation: UInt16.random(in: 0...9, using: &random))
                next.length = numbers.randomElement(using: &random)!
                next.type = Bool.random(using: &random) ? 1 : UInt16.random(in: 0...3, using: &random)
                next.flags = numbers.randomElement(using: &random)!
                next.bufferSpace = numbers.randomElement(using: &random)!
                next.forwarded = numbers.randomElement(using: &random)!
                guest.transmit(next, [UInt8](repeating: 5, count: Int.random(in: 0...2000, using: &random)))
                // One at a time: the ring has sixteen places.
                if round % 8 == 7 { while guest.waitsForDevice { try await Task.sleep(for: .microseconds(50)) } }
                if round % 4 == 3, guest.receiveNow() != nil { guest.offerReceiveBuffer() }
            }
            while guest.waitsForDevice { try await Task.sleep(for: .microseconds(50)) }
            while guest.receiveNow() != nil { guest.offerReceiveBuffer() }
            guest.transmit(packet(.readWrite, from: 9, to: 2001, length: 2), Array("hi".utf8))
            let socket = try await kept.next()
            #expect(read(socket, 8) == Array("hi".utf8))
            close(socket)
        }
    }

    @Test(
        "a VMM that moves and resizes rings of a running guest can't lead the device out of its memory",
        arguments: 0..<8)
    func hostileSetup(seed: Int) async throws {
        try await withDevice { device, guest in
            var random = Seeded(UInt64(seed) &+ 5)
            for _ in 0..<Fuzz.rounds(200, of: "vhost-user messages") {
                let queue = UInt32.random(in: 0...2, using: &random)
                let end = FakeGuest.base + UInt64(FakeGuest.memorySize)
                let ring = [FakeGuest.base, end - 64, end - 4096, end, .max, 0, FakeGuest.base + 8192].randomElement(
                    using: &random)!
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    try guest.message(
                        8, u32(queue) + u32([0, 1, 16, 17, 1024, 2048, .max].randomElement(using: &random)!))
                case 1:
                    try guest.message(9, u32(queue) + u32(0) + u64(ring) + u64(ring) + u64(ring &+ 16) + u64(0))
                case 2: try guest.message(10, u32(queue) + u32(UInt32.random(in: 0 ... .max, using: &random)))
                default: try guest.message(18, u32(queue) + u32(1))
                }
                for queue in 0...1 { guest.offer(queue, head: UInt16.random(in: 0...17, using: &random)) }
            }
            await #expect(throws: VsockError.self) { try await device.dial(port: 1, timeout: .milliseconds(20)) }
        }
    }

    @Test("a limit that the guest reaches is reported, once")
    func reportedLimit() async throws {
        let path = "/tmp/vsock-test-\(getpid())-limit.sock"
        let reached = Mutex<[VsockDevice.Limit]>([])
        let device = try VsockDevice(socketPath: path) { limit in reached.withLock { $0.append(limit) } }
        defer { device.close() }
        let guest = try FakeGuest(devicePath: path)
        // Requests without a buffer for their answers.
        for number in 1...1_100 as ClosedRange<UInt32> {
            while guest.isFull { sched_yield() }
            guest.transmit(packet(.request, from: number, to: 9))
        }
        try await eventually { reached.withLock { !$0.isEmpty } }
        try await guest.settle()
        #expect(reached.withLock { $0 } == [.answers])
    }

    @Test("any message of a broken VMM is survived", arguments: 0..<40)
    func hostileMessages(seed: Int) async throws {
        let path = "/tmp/vsock-test-\(getpid())-m\(seed).sock"
        let device = try VsockDevice(socketPath: path)
        defer { device.close() }
        var random = Seeded(UInt64(seed) &+ 99)
        for _ in 0..<Fuzz.rounds(20, of: "vhost-user messages", each: 20) {
            let socket = try UnixSocket.connect(path)
            for _ in 0..<20 {
                let size = [0, 4, 8, 12, 40, 72, 300, 5000].randomElement(using: &random)!
                var message: [UInt8] = [
                    UInt8.random(in: 0...40, using: &random), 0, 0, 0, UInt8.random(in: 0...15, using: &random), 0, 0,
                    0,
                ]
                message += withUnsafeBytes(of: UInt32(size)) { Array($0) }
                message += (0..<size).map { _ in UInt8.random(in: 0...3, using: &random) }
                let sent = message.withUnsafeBytes { send(socket.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                if sent < 0 { break }
            }
        }
        let guest = try FakeGuest(devicePath: path)
        for _ in 0..<4 { guest.offerReceiveBuffer() }
        async let dialled = device.dial(port: 7, timeout: .longWait)
        let request = try await guest.next().packet
        guest.transmit(packet(.response, from: 7, to: request.sourcePort))
        close(try await dialled)
    }
}
