import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import VhostUser

extension VsockDeviceTests {
    @Suite("The memory of slow readers")
    struct StreamMemory {
        /// Moves bytes through a stream whose buffer never becomes empty.
        private func move(_ bytes: Int, _ guest: FakeGuest, _ stream: inout (socket: Int32, sent: Int, forwarded: Int))
            throws
        {
            let data = [UInt8](repeating: 7, count: 16 << 10)
            var buffer = [UInt8](repeating: 0, count: 16 << 10)
            let end = stream.sent + bytes
            while stream.sent < end {
                while let update = guest.receiveNow() {
                    let news = Int(update.forwarded &- UInt32(truncatingIfNeeded: stream.forwarded))
                    stream.forwarded += news
                    guest.offerReceiveBuffer()
                }
                if stream.sent + data.count - stream.forwarded <= 256 << 10, !guest.isFull {
                    guest.transmit(packet(.readWrite, from: 5, to: 2000, length: UInt32(data.count)), data)
                    stream.sent += data.count
                } else if Glibc.read(stream.socket, &buffer, buffer.count) < 0 {
                    sched_yield()
                }
            }
        }

        @Test(
            "is bounded: no byte is kept after it was read, however long the reader stays behind; 1 GiB costs less than 2 MiB",
            .notUnderSanitizers)
        func slowReader() async {
            await #expect(processExitsWith: .success) { try await StreamMemory().readSlowly() }
        }

        private func readSlowly() async throws {
            try await withDevice { device, guest in
                let opened = try await guest.open(device)
                defer { close(opened.socket) }
                for _ in 0..<8 { guest.offerReceiveBuffer() }
                var stream = (socket: opened.socket, sent: 0, forwarded: 0)
                try move(4 << 20, guest, &stream)
                let before = ResidentMemory.anonymous
                try move(1 << 30, guest, &stream)
                let grown = ResidentMemory.anonymous - before
                #expect(grown < 2 << 20, "\(grown) bytes more after 1 GiB")
            }
        }

        @Test("is what the guest was granted, for every one of many streams")
        func manyStreams() async throws {
            try await withDevice { device, guest in
                var sockets: [Int32] = []
                defer { for socket in sockets { close(socket) } }
                var told: [UInt32] = []
                for number in 1...200 as ClosedRange<UInt32> {
                    let (socket, answer) = try await guest.open(device, from: number)
                    sockets.append(socket)
                    told.append(answer.bufferSpace)
                }
                #expect(told == (1...200).map { Connection.share(among: $0) })
                // The last one may not have what the first one has.
                let data = [UInt8](repeating: 1, count: Int(told[199]) + 1)
                guest.offerReceiveBuffer()
                guest.transmit(packet(.readWrite, from: 200, to: 2000, length: UInt32(data.count)), data)
                #expect(try await guest.next().packet.operation == VsockPacket.Operation.reset.rawValue)
            }
        }

        @Test("keeps bytes for a reader after the guest has reset the stream")
        func resetBehindBytes() async throws {
            try await withDevice { device, guest in
                let (socket, answer) = try await guest.open(device)
                defer { close(socket) }
                let sent = try await guest.fill(answer)
                guest.transmit(packet(.reset, from: 5, to: 2000))
                try await guest.settle()
                var got = 0
                while case let bytes = read(socket, 65536), !bytes.isEmpty { got += bytes.count }
                #expect(got == sent)
                // Its ports are free again.
                let (again, _) = try await guest.open(device)
                close(again)
            }
        }

        @Test("a packet of nearly 4 GiB, with which the count of bytes wraps around, is more than the credit")
        func wrappedCount() async throws {
            try await withDevice { device, guest in
                let large = try FileDescriptor.memory("large", size: 8 << 20)
                let there: UInt64 = 1 << 32
                let table =
                    u32(2) + u32(0) + u64(0) + u64(UInt64(FakeGuest.memorySize)) + u64(FakeGuest.base) + u64(0)
                    + u64(there) + u64(8 << 20) + u64(2 * FakeGuest.base) + u64(0)
                #expect(try guest.ask(5, table, [guest.file.raw, large.raw]) == 0)
                let (socket, answer) = try await guest.open(device)
                defer { close(socket) }
                _ = try await guest.fill(answer)
                // A ring of 1024 descriptors: a header, and the same 8 MiB again and again.
                let ring = 3 << 20
                let first = guest.memory + guest.bufferOffset(2, 8)
                packet(.readWrite, from: 5, to: 2000, length: .max).write(to: first)
                for slot in 0...513 {
                    let entry = guest.memory + ring + slot * 16
                    let (address, length) =
                        slot == 0 ? (UInt64(guest.bufferOffset(2, 8)), UInt32(44)) : (there, UInt32(8 << 20))
                    entry.storeBytes(of: address, as: UInt64.self)
                    (entry + 8).storeBytes(of: length, as: UInt32.self)
                    (entry + 12).storeBytes(of: slot < 513 ? 1 : 0, as: UInt16.self)
                    (entry + 14).storeBytes(of: UInt16(slot + 1), as: UInt16.self)
                }
                (guest.memory + ring + (32 << 10)).storeBytes(of: 1 << 16, as: UInt32.self)
                let address = FakeGuest.base + UInt64(ring)
                _ = try guest.ask(8, u32(1) + u32(1024))
                _ = try guest.ask(10, u32(1) + u32(0))
                _ = try guest.ask(
                    9, u32(1) + u32(0) + u64(address) + u64(address + (16 << 10)) + u64(address + (32 << 10)) + u64(0))
                guest.kick(1)
                var operation = VsockPacket.Operation.invalid.rawValue
                for _ in 0..<20 where operation != VsockPacket.Operation.reset.rawValue {
                    guest.offerReceiveBuffer()
                    operation = try await guest.next().packet.operation
                }
                #expect(operation == VsockPacket.Operation.reset.rawValue)
            }
        }
    }
}
