import Glibc
import LinuxKernel
import SwiftProtobuf
import Synchronization
import TTRPC

/// An agent in the test's own process, at the other end of a socket pair. It answers each call as the test says: with
/// anything that a guest could send.
package final class FakeAgent: Sendable {
    package struct Call: Sendable {
        package let stream: UInt32
        package let method: String
        package let payload: [UInt8]
    }

    package enum Answer: Sendable {
        /// A reply, encoded. Empty, it is one of every kind.
        case reply([UInt8])
        case failure(RPCError)
        /// Bytes as they are on the wire.
        case bytes([UInt8])
        case silence

        package static func reply(_ message: some Message) -> Answer { .reply((try? message.serializedBytes()) ?? []) }
    }

    /// The host's end, for a client that takes it.
    package let host: Int32
    package let hostEnd: FileIdentity
    private let guest: FileDescriptor
    private let counts = Mutex<[String: Int]>([:])

    /// - Parameter answer: is asked on the agent's thread, one call after the other.
    package init(_ answer: @escaping @Sendable (Call) -> Answer) throws {
        var ends: [Int32] = [-1, -1]
        try check("make", "socket pair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &ends) }
        host = ends[0]
        hostEnd = try FileIdentity(descriptor: host)
        guest = FileDescriptor(owning: ends[1])
        try startThread("agent") { [self] in
            while let call = next() {
                counts.withLock { $0[call.method, default: 0] += 1 }
                send(answer(call), to: call)
            }
        }
    }

    /// Ends the connection from the guest's side.
    package func hangUp() { shutdown(guest.raw, Int32(SHUT_RDWR)) }

    /// How often a method was called.
    package func count(_ method: String) -> Int { counts.withLock { $0[method] ?? 0 } }

    // MARK: The wire

    /// A response as it is on the wire.
    package static func frame(_ stream: UInt32, _ data: [UInt8]) -> [UInt8] {
        func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
        return bytes(UInt32(data.count)) + bytes(stream) + [Frame.Kind.response.rawValue, 0] + data
    }

    /// Sends bytes that no call has asked for. Blocks until the host has taken them, or has gone.
    package func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(guest.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 || errno == EINTR else { return }
            rest = rest.dropFirst(max(0, count))
        }
    }

    /// Answers a call, also one that was met with silence before.
    package func send(_ answer: Answer, to call: Call) {
        switch answer {
        case .reply(let payload): send(response(payload), stream: call.stream)
        case .failure(let error): send(response(error), stream: call.stream)
        case .bytes(let bytes): send(bytes)
        case .silence: break
        }
    }

    private func send(_ response: Ttrpc_Response, stream: UInt32) {
        send(Self.frame(stream, (try? response.serializedBytes()) ?? []))
    }

    private func response(_ payload: [UInt8]) -> Ttrpc_Response { .with { $0.payload = .init(payload) } }

    private func response(_ error: RPCError) -> Ttrpc_Response {
        .with { ($0.status.code, $0.status.message) = (error.code.rawValue, error.message) }
    }

    private func next() -> Call? {
        guard let header = read(Frame.headerLength) else { return nil }
        func number(_ slice: ArraySlice<UInt8>) -> UInt32 { slice.reduce(0) { $0 << 8 | UInt32($1) } }
        guard let data = read(Int(number(header[..<4]))), let request = try? Ttrpc_Request(serializedBytes: data) else {
            return nil
        }
        return Call(stream: number(header[4..<8]), method: request.method, payload: Array(request.payload))
    }

    private func read(_ count: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var chunk = [UInt8](repeating: 0, count: count - bytes.count)
            let got = Glibc.read(guest.raw, &chunk, chunk.count)
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return nil }
            bytes += chunk[..<got]
        }
        return bytes
    }
}
