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
    func garbage() throws {
        for input in try Fuzz.inputs("ttrpc frames", corpus: "ttrpc", rounds: 20_000) {
            var decoder = FrameDecoder()
            var buffer = ByteBuffer(bytes: input)
            let found = frames(&decoder, &buffer)
            #expect(found.allSatisfy { $0.data.count <= input.count })
        }
    }
}
