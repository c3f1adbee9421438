import CLinux
import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import VhostUser

extension VsockDeviceTests {
    @Suite("Memory tables")
    struct MemoryTables {
        private func region(_ guestAddress: UInt64, _ size: UInt64, _ userAddress: UInt64, _ offset: UInt64) -> [UInt8]
        {
            u64(guestAddress) + u64(size) + u64(userAddress) + u64(offset)
        }

        private func table(_ regions: [UInt8]...) -> [UInt8] {
            u32(UInt32(regions.count)) + u32(0) + regions.flatMap { $0 }
        }

        private let whole = UInt64(FakeGuest.memorySize)

        private func serves(_ device: VsockDevice, _ guest: FakeGuest, from port: UInt32) async throws {
            let (socket, _) = try await guest.open(device, from: port)
            close(socket)
            guest.offerReceiveBuffer()
            _ = try await guest.next()
        }

        @Test("are taken whole or not at all")
        func allOrNothing() async throws {
            try await withDevice { device, guest in
                let half = table(region(whole, 4096, 2 * FakeGuest.base, whole), region(0, whole, FakeGuest.base, 0))
                #expect(try guest.ask(5, half, [guest.file.raw, guest.file.raw]) == 1)
                try await serves(device, guest, from: 5)
            }
        }

        @Test("hold no memory that the VMM can make shorter")
        func shrinking() async throws {
            try await withDevice { device, guest in
                let sealed = try FileDescriptor.memory("sealed", size: 1 << 20)
                let open = FileDescriptor(owning: try checkNegativeErrno("make", "memory", clx_memory_file("open")))
                try check("size", "memory") { ftruncate(open.raw, 1 << 20) }
                let scratch = Scratch()
                let file = try FileDescriptor.open(scratch.path + "/file", O_RDWR | O_CREAT)
                try check("size", "file") { ftruncate(file.raw, 1 << 20) }
                func answer(_ memory: Int32) throws -> UInt64 {
                    let both = table(region(0, whole, FakeGuest.base, 0), region(whole, 1 << 20, 2 * FakeGuest.base, 0))
                    return try guest.ask(5, both, [guest.file.raw, memory])
                }
                #expect(try answer(open.raw) == 1)
                #expect(try answer(file.raw) == 1)
                #expect(try answer(sealed.raw) == 0)
                #expect(ftruncate(sealed.raw, 0) < 0 && errno == EPERM)
                try await serves(device, guest, from: 5)
            }
        }

        @Test("at which our own addresses are odd give no rings")
        func oddOffsets() async throws {
            try await withDevice { device, guest in
                for offset in [1, 2, 8] as [UInt64] {
                    let odd = table(region(0, whole - 4096, FakeGuest.base, offset))
                    #expect(try guest.ask(5, odd, [guest.file.raw]) == 0)
                    for queue in 0...1 { guest.kick(queue) }
                }
                #expect(try guest.ask(5, table(region(0, whole, FakeGuest.base, 0)), [guest.file.raw]) == 0)
                try await serves(device, guest, from: 5)
            }
        }

        @Test("let the device see what was sent, and kicked, while it could not reach the rings")
        func lateTable() async throws {
            try await withDevice { device, guest in
                let odd = table(region(0, whole - 4096, FakeGuest.base, 1))
                #expect(try guest.ask(5, odd, [guest.file.raw]) == 0)
                guest.transmit(packet(.request, from: 9, to: 2001))
                // The device has taken the kick when it has answered.
                for _ in 0..<2 { #expect(try guest.ask(5, odd, [guest.file.raw]) == 0) }
                #expect(try guest.ask(5, table(region(0, whole, FakeGuest.base, 0)), [guest.file.raw]) == 0)
                guest.offerReceiveBuffer()
                let answer = try await guest.next().packet
                #expect(answer.destinationPort == 9 && answer.operation == VsockPacket.Operation.reset.rawValue)
            }
        }

        @Test("of any files, places and sizes, sent while the rings are in use, are survived", arguments: 0..<8)
        func hostileTables(seed: Int) async throws {
            let path = "/tmp/vsock-test-\(getpid())-t\(seed).sock"
            let device = try VsockDevice(socketPath: path)
            defer { device.close() }
            var random = Seeded(UInt64(seed) &+ 11)
            let files = try PassedFiles(sizes: [0, 1, 4096, 1 << 20, 1 << 40])
            for _ in 0..<Fuzz.rounds(6, of: "memory tables", each: 10) {
                // A table that breaks the protocol ends the connection.
                do { try drive(try FakeGuest(devicePath: path), files, &random) } catch {}
            }
            try await serves(device, try FakeGuest(devicePath: path), from: 77)
        }

        private func drive(_ guest: FakeGuest, _ files: PassedFiles, _ random: inout Seeded) throws {
            let numbers: [UInt64] = [
                0, 1, 16, 4095, 4096, whole, 1 << 20, 1 << 32, FakeGuest.base, 2 * FakeGuest.base, 1 << 46, 1 << 47,
                1 << 63, .max - 4095, .max,
            ]
            for _ in 0..<10 {
                let count = Int.random(in: 0...8, using: &random)
                var regions = (0..<count).map { _ in
                    let pick = (0..<4).map { _ in numbers.randomElement(using: &random)! }
                    return region(pick[0], pick[1], pick[2], pick[3])
                }
                var descriptors = (0..<count).map { _ in files.all.randomElement(using: &random)!.raw }
                // Often the guest's own memory is among them, now and then there is a descriptor too few.
                if count > 0, Int.random(in: 0..<3, using: &random) > 0 {
                    regions[0] = region(0, whole, FakeGuest.base, 0)
                    descriptors[0] = guest.file.raw
                }
                if count > 0, Int.random(in: 0..<20, using: &random) == 0 { descriptors.removeLast() }
                guest.transmit(
                    packet(.request, from: UInt32.random(in: 1...9, using: &random), to: 2000),
                    [UInt8](repeating: 0, count: Int.random(in: 0...1000, using: &random)))
                guest.offerReceiveBuffer()
                _ = try guest.ask(5, u32(UInt32(count)) + u32(0) + regions.flatMap { $0 }, descriptors)
                files.shrink()
                if Bool.random(using: &random) { guest.kick(Int.random(in: 0...1, using: &random)) }
                guard Int.random(in: 0..<4, using: &random) == 0 else { continue }
                try guest.stop()
                try guest.shareMemory()
                try guest.setUp()
            }
        }
    }
}

/// Descriptors that a VMM may send in place of memory.
private final class PassedFiles {
    let all: [SharedDescriptor]
    private let shrinking: [SharedDescriptor]

    init(sizes: [Int]) throws {
        shrinking = try sizes.map { size in
            let file = FileDescriptor(owning: try checkNegativeErrno("make", "memory", clx_memory_file("open")))
            try check("size", "memory") { ftruncate(file.raw, size) }
            return SharedDescriptor(file)
        }
        let sealed = try sizes.map { SharedDescriptor(try FileDescriptor.memory("sealed", size: $0)) }
        let others = [
            SharedDescriptor(try FileDescriptor.open("/dev/zero", O_RDWR)), try eventDescriptor(),
            SharedDescriptor(try Pipe().keepingReadEnd()), SharedDescriptor(try SocketPair().keepingOurs()),
            SharedDescriptor(try FileDescriptor.open("/proc/self/exe", O_RDONLY)),
        ]
        all = shrinking + sealed + others
    }

    /// Takes the pages away from what can be made shorter.
    func shrink() { for file in shrinking { ftruncate(file.raw, 0) } }
}
