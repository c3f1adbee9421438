import LinuxKernel
import TestSupport
import Testing

@testable import Streams

@Suite("datagrams in a stream")
struct DatagramTests {
    @Test("datagrams come out whole, however the stream cuts them")
    func cuts() {
        let datagrams = [
            [UInt8]("first".utf8), [], [UInt8](repeating: 7, count: 300), [UInt8](repeating: 9, count: 65535),
        ]
        let stream = datagrams.flatMap(DatagramFrames.frame)
        for size in [1, 2, 3, 301, 5000, stream.count] {
            var frames = DatagramFrames()
            var whole: [[UInt8]] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                whole += frames.receive(stream[start..<min(start + size, stream.count)])
            }
            #expect(whole == datagrams, "in pieces of \(size)")
        }
    }

    @Test("any stream is cut into datagrams that were in it")
    func fuzz() throws {
        for input in try Fuzz.inputs("datagrams in streams (DNS)", corpus: "datagrams", rounds: 5000) {
            var frames = DatagramFrames()
            let whole = frames.receive(input.prefix(3)) + frames.receive(input.dropFirst(3))
            #expect(whole.reduce(0) { $0 + 2 + $1.count } <= input.count)
        }
    }

    @Test("a path that is no network namespace is refused")
    func namespaces() throws {
        #expect(throws: SystemError("use as network namespace", "/proc/self/ns/uts", errno: 22)) {
            _ = try NetworkNamespace.open("/proc/self/ns/uts")
        }
        let own = try NetworkNamespace.open("/proc/self/ns/net")
        #expect(try NetworkNamespace.open(own.path).identity == own.identity)
    }
}
