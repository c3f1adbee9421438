import Glibc
import LinuxKernel
import Testing

@testable import Streams

@Suite("The relay of streams")
struct StreamRelayTests {
    @Test("holds at most 42 MiB of unread bytes, in 8192 streams")
    func shares() {
        #expect(StreamRelay.share(among: 1) == 64 << 10)
        #expect(StreamRelay.share(among: 128) == 64 << 10)
        #expect(StreamRelay.share(among: 8192) == 1 << 10)
        #expect((1...8192).reduce(0) { $0 + StreamRelay.share(among: $1) } <= 42 << 20)
    }

    @Test("moves all bytes of many streams, slow readers and all")
    func manyStreams() throws {
        let relay = try StreamRelay()
        defer { relay.stop() }
        var streams: [(handle: StreamRelay.Handle, end: SharedDescriptor)] = []
        for _ in 0..<150 {
            let input = try Pipe()
            let output = try Pipe()
            _ = fcntl(input.writeEnd.raw, setPipeSize, 1 << 20)
            try input.writeEnd.writeAll([UInt8](repeating: 5, count: 100_000), to: "pipe")
            let end = try output.readEnd.duplicate()
            streams.append(
                (relay.connect(from: input.keepingReadEnd(), to: output.keepingWriteEnd()), SharedDescriptor(end)))
        }
        for stream in streams {
            #expect(try stream.end.descriptor.readAll("pipe", limit: 1 << 20, by: .now + .seconds(10)).count == 100_000)
            #expect(stream.handle.moved == 100_000)
        }
    }
}

/// F_SETPIPE_SIZE of fcntl(2), which Swift's C library doesn't show.
private let setPipeSize: Int32 = 1031
