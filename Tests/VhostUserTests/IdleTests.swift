import CLinux
import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import VhostUser

extension VsockDeviceTests {
    @Suite("A device for which there is nothing to do")
    struct Idle {
        /// A state in which a guest, a VMM or a manager leaves the device.
        enum Situation: CaseIterable {
            case headerBuffers, shortBuffers, runawayRing, stoppedQueue, noBuffers, fullUsedRing, unreadAnswers
            case readerGone, readerSlow, managerGone, noCredit, countingKick, vmmGone
        }

        @Test("takes no processor time", arguments: Situation.allCases)
        func rests(situation: Situation) async throws {
            try await withDevice { device, guest in
                let thread = try #require(Threads.newest("vsock"))
                let (socket, answer) = try await guest.open(device, space: situation == .noCredit ? 0 : 65536)
                var isOpen = true
                defer { if isOpen { close(socket) } }
                let byte: [UInt8] = [1]
                switch situation {
                case .headerBuffers, .shortBuffers:
                    for _ in 0..<8 { guest.offerReceiveBuffer(length: situation == .headerBuffers ? 44 : 43) }
                    write(socket, byte)
                case .runawayRing:
                    guest.offer(0, head: 0, advance: 40)
                    write(socket, byte)
                case .stoppedQueue:
                    guest.offerReceiveBuffer()
                    #expect(try guest.ask(18, u32(0) + u32(0)) == 0)
                    write(socket, byte)
                case .noBuffers: write(socket, [UInt8](repeating: 1, count: 1000))
                case .fullUsedRing:
                    for _ in 0..<16 { guest.offerReceiveBuffer(length: 45) }
                    write(socket, [UInt8](repeating: 1, count: 1000))
                case .unreadAnswers:
                    for port in 0..<200 as Range<UInt32> {
                        guest.transmit(packet(.creditRequest, from: port, to: 9))
                        try await guest.settle()
                    }
                    write(socket, byte)
                case .readerGone, .readerSlow:
                    _ = try await guest.fill(answer)
                    if situation == .readerGone {
                        close(socket)
                        isOpen = false
                    }
                case .managerGone, .noCredit:
                    write(socket, byte)
                    close(socket)
                    isOpen = false
                    guest.offerReceiveBuffer()
                case .countingKick:
                    // EFD_SEMAPHORE: readable as many times as it was told.
                    let kick = try eventDescriptor(1 | O_NONBLOCK)
                    var many = UInt64.max - 1
                    _ = Glibc.write(kick.raw, &many, 8)
                    #expect(try guest.ask(12, u64(0), [kick.raw]) == 0)
                case .vmmGone: shutdown(guest.socket.raw, Int32(SHUT_RDWR))
                }
                try await Task.sleep(for: .milliseconds(20))
                let before = Threads.time(of: thread)
                try await Task.sleep(for: .milliseconds(500))
                #expect(Threads.time(of: thread) - before < .milliseconds(50))
            }
        }

        @Test("polls ready queues that yield nothing, with pauses between")
        func pauses() {
            var idling = Idling()
            let first = (0..<200).map { _ in idling.pause() }
            #expect(first.prefix(64).allSatisfy { $0 == nil })
            #expect(first.suffix(100).filter { $0 != nil }.count == 50)
            idling.moved = true
            #expect(idling.pause() == nil)
        }

        @Test("takes receive buffers of any size, in any number of descriptors: those without room for a byte go back")
        func receiveBuffers() async throws {
            try await withDevice { device, guest in
                let (socket, _) = try await guest.open(device)
                defer { close(socket) }
                var random = Seeded(3)
                for size in (0...64).flatMap({ [$0, $0] }) {
                    let before = guest.received.count
                    // Up to four descriptors from the eighth on, and a long one.
                    let cuts = (0..<3).map { _ in Int.random(in: 0...size, using: &random) }.sorted()
                    let ends = [0] + cuts + [size]
                    for part in 0..<4 {
                        guest.describe(
                            0, 8 + part, address: UInt64(guest.bufferOffset(0, 8) + ends[part]),
                            length: UInt32(ends[part + 1] - ends[part]), flags: part < 3 ? 3 : 2,
                            next: UInt16(9 + part))
                    }
                    guest.describe(0, 0, address: UInt64(guest.bufferOffset(0, 0)), length: 4096, flags: 2)
                    let data = (0..<30).map { _ in UInt8.random(in: 0...255, using: &random) }
                    write(socket, data)
                    guest.offer(0, head: 8)
                    guest.offer(0, head: 0)
                    try await eventually { guest.carried(before) == 30 }
                    let room = max(0, size - 44)
                    let inShort = try #require(guest.received.dropFirst(before).first)
                    #expect(inShort.head == 8)
                    #expect(inShort.written == (room > 0 ? 44 + room : 0), "\(size) bytes")
                    #expect(guest.bytes(8, room) + guest.bytes(0, 30 - room) == data)
                    guest.transmit(credit(guest))
                }
            }
        }

        private func credit(_ guest: FakeGuest) -> VsockPacket {
            var update = packet(.creditUpdate, from: 5, to: 2000)
            update.bufferSpace = 1 << 20
            return update
        }
    }
}

extension FakeGuest {
    /// Bytes of data in the chains that the device gave back, from one on.
    fileprivate func carried(_ first: Int) -> Int {
        received.dropFirst(first).reduce(0) { $0 + max(0, $1.written - 44) }
    }

    fileprivate func bytes(_ slot: Int, _ count: Int) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: memory + bufferOffset(0, slot) + 44, count: count))
    }
}
