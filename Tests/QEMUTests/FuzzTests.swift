import EventLoop
import Glibc
import LinuxKernel
import NIOPosix
import TestSupport
import Testing

@testable import QEMU

@Suite("Monitors that aren't", .timeLimit(.minutes(10)))
struct FuzzTests {
    @Test("whatever a monitor says, a command ends; events are heard beside the noise")
    func fuzzMonitor() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        for input in try Fuzz.inputs("QMP lines", corpus: "qmp", rounds: 400) {
            var ends: [Int32] = [-1, -1]
            try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
            let qemu = FileDescriptor(owning: ends[0])
            try qemu.writeAll(Array("{\"return\": {}}\n".utf8), to: "the client")
            // Its answer to the greeting may come before the question: that is noise too.
            let client = Task { [socket = ends[1]] in try await Monitor.connect(socket: socket, on: loop) { _ in } }
            try? qemu.writeAll(input + Array("\n{\"return\": {}}\n".utf8), to: "the client")
            shutdown(qemu.raw, Int32(SHUT_WR))
            _ = try? await client.value.execute(QMP.Continue(), timeout: .seconds(1))
        }
    }
}
