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
            #expect(try stream.end.descriptor.readAll("pipe", limit: 1 << 20, by: .now + .longWait).count == 100_000)
            #expect(stream.handle.moved == 100_000)
        }
    }

    @Test("a stream ends once: the number of its descriptor may be another socket's afterwards")
    func endedTwice() throws {
        let relay = try StreamRelay()
        for isStopped in [false, true] {
            let input = try Pipe()
            let pair = try SocketPair()
            let theirs = SharedDescriptor(try pair.theirs.duplicate())
            let ours = try pair.ours.duplicate().take()
            let handle = relay.connect(from: input.keepingReadEnd(), to: FileDescriptor(owning: ours))
            // Twice in one batch, where the thread is slow enough, and again later.
            for _ in 0..<2 { relay.end(handle) }
            while !handle.hasEnded { usleep(1_000) }
            var ends: [Int32] = [-1, -1]
            try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &ends) == 0)
            if isStopped { relay.stop() } else { relay.end(handle) }
            usleep(20_000)
            let one = FileDescriptor(owning: ends[0])
            let other = FileDescriptor(owning: ends[1])
            try one.writeAll([7], to: "socket")
            try other.writeAll([7], to: "socket")
            let isReadable = theirs.descriptor.isReadable(by: .now + .longWait)
            #expect(isReadable)
        }
    }

    @Test("a stream that comes after the end of the relay ends at once")
    func late() throws {
        let relay = try StreamRelay()
        relay.stop()
        let input = try Pipe()
        let output = try Pipe()
        #expect(relay.connect(from: input.keepingReadEnd(), to: output.keepingWriteEnd()).hasEnded)
    }

    @Test("a terminal's output goes on after all slaves were closed and opened again, and ends with its program")
    func reopenedTerminal() throws {
        let relay = try StreamRelay()
        defer { relay.stop() }
        let terminal = try PseudoTerminal()
        let path = try terminal.path
        let output = try Pipe()
        let held = HeldTerminal()
        try terminal.slave.writeAll(Array("first ".utf8), to: path)
        let handle = relay.connect(
            from: terminal.keepingMaster(), to: try output.writeEnd.duplicate(), terminal: held)
        let reader = output.keepingReadEnd()
        func read(_ count: Int) throws -> String {
            var text = ""
            while text.utf8.count < count, reader.isReadable(by: .now + .longWait) {
                text += String(
                    decoding: readBytes(upTo: 100) { Glibc.read(reader.raw, $0.baseAddress, $0.count) }.bytes,
                    as: UTF8.self)
            }
            return text
        }
        #expect(try read(6) == "first ")
        // All slaves are closed now: the relay has met EIO, or will.
        for word in ["second", "third "] {
            usleep(20_000)
            let slave = try FileDescriptor.open(path, O_RDWR | O_NOCTTY)
            try slave.writeAll(Array(word.utf8), to: path)
            #expect(try read(6) == word)
        }
        #expect(!handle.hasEnded)
        held.end()
        let limit = ContinuousClock.now + .longWait
        while !handle.hasEnded, .now < limit { usleep(1_000) }
        #expect(handle.hasEnded)
    }

    @Test("without a program that is known to live, a terminal's end of output is its last slave's end")
    func endedTerminal() throws {
        let terminal = try PseudoTerminal()
        let held = HeldTerminal()
        #expect(
            held.isOpenAgain(terminal.master.raw, after: EIO) && !held.isOpenAgain(terminal.master.raw, after: EPIPE))
        held.end()
        #expect(!held.isOpenAgain(terminal.master.raw, after: EIO))
    }
}

/// F_SETPIPE_SIZE of fcntl(2), which Swift's C library doesn't show.
private let setPipeSize: Int32 = 1031
