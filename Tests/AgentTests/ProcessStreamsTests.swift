import Glibc
import LinuxKernel
import Streams
import Testing

@testable import Agent

@Suite("A process's streams in the guest")
struct ProcessStreamsTests {
    @Test(
        "a terminal sends newlines with a carriage return, unless the host asks for plain ones",
        arguments: [true, false])
    func newlines(isPlain: Bool) throws {
        let terminal = try PseudoTerminal()
        let slave = try terminal.slave.duplicate()
        var ends = ProcessStreams.Ends()
        ends.terminal = terminal.keepingMaster()
        let streams = try ProcessStreams(ends, StreamPorts(plainNewlines: isPlain), relay: try StreamRelay())
        try slave.writeAll(Array("one\ntwo\r\n".utf8), to: "terminal")
        let expected = isPlain ? "one\ntwo\r\n" : "one\r\ntwo\r\r\n"
        #expect(String(decoding: try streams.read(.output, limit: 100), as: UTF8.self) == expected)
    }

    @Test("a terminal hangs up when the reader of its output has gone")
    func hangUp() throws {
        let terminal = try PseudoTerminal()
        let slave = try terminal.slave.duplicate()
        var ends = ProcessStreams.Ends()
        ends.terminal = terminal.keepingMaster()
        let streams = try ProcessStreams(ends, StreamPorts(stdin: 1, stdout: 2), relay: try StreamRelay()) {
            port throws(SystemError) in
            // The far end is closed at once: for input that is its end, for output the reader's.
            try SocketPair().keepingOurs()
        }
        // The end of input is no reason to hang up.
        usleep(50_000)
        var facts = pollfd(fd: slave.raw, events: Int16(POLLOUT), revents: 0)
        #expect(poll(&facts, 1, 0) == 1 && facts.revents == Int16(POLLOUT))
        try slave.writeAll(Array("output".utf8), to: "terminal")
        facts.events = 0
        #expect(poll(&facts, 1, 10_000) == 1 && facts.revents & Int16(POLLHUP) != 0)
        withExtendedLifetime(streams) {}
    }
}
