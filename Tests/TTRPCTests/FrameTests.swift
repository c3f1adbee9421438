import NIOCore
import TestSupport
import Testing

@testable import TTRPC

@Suite("ttrpc frames")
struct FrameTests {
    private func frames(_ decoder: inout FrameDecoder, _ buffer: inout ByteBuffer) -> [Frame] {
        var found: [Frame] = []
        while let inbound = decoder.next(&buffer) { if case .frame(let frame) = inbound { found.append(frame) } }
        return found
    }

    @Test("a header is length, stream, type and flags, big-endian")
    func layout() {
        var buffer = ByteBuffer()
        Frame(stream: 0x0102_0305, kind: .request, flags: 2, data: [0xaa, 0xbb]).write(to: &buffer)
        #expect(Array(buffer.readableBytesView) == [0, 0, 0, 2, 1, 2, 3, 5, 1, 2, 0xaa, 0xbb])
    }

    @Test("frames that come a byte at a time are the frames that were sent")
    func split() {
        let sent = [Frame(stream: 1, kind: .request, data: [1, 2, 3]), Frame(stream: 3, kind: .response, data: [])]
        var wire = ByteBuffer()
        for frame in sent { frame.write(to: &wire) }
        var decoder = FrameDecoder()
        var buffer = ByteBuffer()
        var got: [Frame] = []
        for byte in wire.readableBytesView {
            buffer.writeInteger(byte)
            got += frames(&decoder, &buffer)
        }
        #expect(got == sent)
    }

    @Test("data beyond 4 MiB is reported and skipped, and the next frame is read")
    func oversize() {
        var decoder = FrameDecoder()
        var buffer = ByteBuffer()
        let length = Frame.maximumLength + 1
        buffer.writeInteger(UInt32(length))
        buffer.writeInteger(UInt32(7))
        buffer.writeBytes([1, 0])
        guard case .oversize(7, 1, UInt32(length))? = decoder.next(&buffer) else {
            Issue.record("the oversize frame was not reported")
            return
        }
        buffer.writeRepeatingByte(0xff, count: length)
        Frame(stream: 9, kind: .request, data: [5]).write(to: &buffer)
        #expect(frames(&decoder, &buffer) == [Frame(stream: 9, kind: .request, data: [5])])
    }

    @Test("no bytes make the decoder crash or loop")
    func garbage() {
        var random = SplitMix(state: 20)
        for _ in 0..<Fuzz.rounds(100_000) {
            var decoder = FrameDecoder()
            var buffer = ByteBuffer()
            for _ in 0..<Int(random.next() % 40) { buffer.writeInteger(UInt8(truncatingIfNeeded: random.next())) }
            let before = buffer.readableBytes
            _ = frames(&decoder, &buffer)
            #expect(buffer.readableBytes <= before)
        }
    }
}

/// Numbers that look random and are the same every time (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
