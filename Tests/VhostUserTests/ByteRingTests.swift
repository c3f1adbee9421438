import Glibc
import TestSupport
import Testing

@testable import VhostUser

@Suite("Bytes that wait for their reader")
struct ByteRingTests {
    private func append(_ bytes: [UInt8], _ ring: inout ByteRing, limit: Int) {
        var bytes = bytes
        let half = bytes.count / 2
        bytes.withUnsafeMutableBytes {
            let base = $0.baseAddress!
            ring.append(
                [
                    iovec(iov_base: base, iov_len: half), iovec(iov_base: base + half, iov_len: 0),
                    iovec(iov_base: base + half, iov_len: $0.count - half),
                ], limit: limit)
        }
    }

    @Test("bytes come out in order, however they are added and taken; the memory has a limit, and is freed with them")
    func likeAnArray() {
        var random = Seeded(1)
        var ring = ByteRing()
        var expected: [UInt8] = []
        var limit = 100
        for round in 0..<Fuzz.rounds(1000) {
            // A stream's limit grows, at most.
            if round % 200 == 0 { limit *= 2 }
            let room = limit - expected.count
            if room > 0, Bool.random(using: &random) {
                let bytes = (0..<Int.random(in: 1...room, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                append(bytes, &ring, limit: limit)
                expected += bytes
            } else {
                let count = Int.random(in: 0...expected.count, using: &random)
                ring.removeFirst(count)
                expected.removeFirst(count)
            }
            #expect(ring.capacity <= limit)
            #expect(ring.count == expected.count)
            let held = ring.runs.flatMap { Array(UnsafeRawBufferPointer(start: $0.iov_base, count: $0.iov_len)) }
            #expect(held == expected)
            if expected.isEmpty { #expect(ring.capacity == 0) }
        }
    }

    @Test("one stream holds at most 256 KiB, all of a guest's streams at most 47 MiB")
    func shares() {
        #expect(Connection.share(among: 1) == 256 << 10)
        #expect(Connection.share(among: 32) == 256 << 10)
        #expect(Connection.share(among: Connection.maxCount) == 2 << 10)
        // The nth largest of them has no more than the share of n.
        let sum = (1...Connection.maxCount).reduce(0) { $0 + Int(Connection.share(among: $1)) }
        #expect(sum <= 47 << 20)
    }

    @Test("a stream's share never shrinks, and grows when others have ended")
    func growth() {
        let connection = Connection(Connection.Key(hostPort: 1, guestPort: 1), among: 1000)
        #expect(connection.announcement(among: 1000).space == 8 << 10)
        #expect(connection.announcement(among: 4).space == 256 << 10)
        #expect(connection.announcement(among: 4000).space == 256 << 10)
    }
}
