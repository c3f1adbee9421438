import Glibc
import LinuxKernel
import NIOPosix
import Synchronization
import Testing

@testable import Channel

@Suite("The hybrid vsock", .timeLimit(.minutes(5)))
struct HybridDialerTests {
    private let path = "/tmp/hybrid-\(UInt32.random(in: 0...UInt32.max)).sock"
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// A VMM that answers each connection with the next of `answers`.
    private func serve(_ answers: [String]) throws {
        let listener = try UnixSocket.listen(path).take()
        detachThread("vmm") {
            for answer in answers {
                let socket = accept(listener, nil, nil)
                var line = [UInt8](repeating: 0, count: 64)
                _ = read(socket, &line, 64)
                _ = answer.withCString { write(socket, $0, strlen($0)) }
                close(socket)
            }
            close(listener)
        }
    }

    @Test("a dial is made again until the guest listens, and the stream begins behind the answer")
    func dial() async throws {
        try serve(["", "NO\n", "OK 1073741824\nhello"])
        let socket = try await HybridVsockChannel(socketPath: path, loop: loop).dial(port: 1024, timeout: .seconds(50))
        var bytes = [UInt8](repeating: 0, count: 16)
        #expect(read(socket, &bytes, 16) == 5)
        close(socket)
        unlink(path)
    }

    @Test("a dial without a listener ends at its deadline")
    func deadline() async throws {
        await #expect(throws: ChannelError.self) {
            try await HybridVsockChannel(socketPath: path, loop: loop).dial(port: 1, timeout: .milliseconds(60))
        }
    }

    @Test("the guest's streams come to the port's own socket, which is removed with its listener")
    func listen() async throws {
        let dialer = HybridVsockChannel(socketPath: path, loop: loop)
        let accepted = Mutex<Int32>(-1)
        try dialer.listen(port: 7) { socket in accepted.withLock { $0 = socket } }
        let stream = try UnixSocket.connect(path + "_7")
        for _ in 0..<200 where accepted.withLock({ $0 }) < 0 { try await Task.sleep(for: .milliseconds(5)) }
        #expect(accepted.withLock { $0 } >= 0)
        _ = stream.raw
        dialer.stopListening(port: 7)
        #expect(!Files.exists(path + "_7"))
        close(accepted.withLock { $0 })
    }
}
