import Glibc
import Streams
import Testing

@testable import LinuxKernel

@Suite("threads and descriptors")
struct ThreadsTests {
    @Test("a host that has threads for us says so, and has them again afterwards")
    func room() throws {
        for _ in 0..<3 { try tryThreads(8) }
    }

    @Test("the soft limit of descriptors becomes the hard one; where that is too low, one line says so")
    func descriptors() throws {
        try raiseDescriptorLimit(atLeast: 16)
        var limit = rlimit()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 && limit.rlim_cur == limit.rlim_max)
        let refusal = #expect(throws: SystemError.self) { try raiseDescriptorLimit(atLeast: .max) }
        #expect(refusal?.description.contains("(ulimit -Hn): too many open files") == true)
    }

    @Test("a stream whose reader takes nothing is known for that, and one that is read is not")
    func unread() throws {
        let relay = try StreamRelay()
        defer { relay.stop() }
        let source = try Pipe()
        let sink = try Pipe()
        let stream = relay.connect(
            from: try source.readEnd.duplicate(), to: try sink.writeEnd.duplicate())
        let bytes = [UInt8](repeating: 7, count: 60 << 10)
        for _ in 0..<3 { _ = write(source.writeEnd.raw, bytes, bytes.count) }
        for _ in 0..<200 where !stream.isUnread { usleep(10_000) }
        #expect(stream.isUnread)
        var taken = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<3 { _ = read(sink.readEnd.raw, &taken, taken.count) }
        for _ in 0..<200 where stream.isUnread { usleep(10_000) }
        #expect(!stream.isUnread)
    }
}
