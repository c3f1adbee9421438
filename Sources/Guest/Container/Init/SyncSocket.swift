import CLinux
import Glibc
import LinuxKernel

/// The protocol between the agent and a process's init, over a socket pair that exec closes.
///
/// The agent sends the plan, the compiled filter, then a go-ahead for each `mapUsers` and for `ready`. The init sends
/// `mapUsers` in a new user namespace, `terminal` with a descriptor, `process` with a pid, and `ready`. End of file
/// after the last go-ahead means that the program runs; `failure` with a line of text ends the exchange at any point.
package struct SyncSocket: ~Copyable, Sendable {
    package enum Message: Equatable, Sendable {
        case terminal(Int32)
        case process(Int32)
        case mapUsers
        case ready
        case failure(String)
        case end
    }

    /// The descriptor's number in the started process.
    package static let number: Int32 = 3

    /// The maximum in bytes; a packet must fit into the socket's buffer.
    private static let maxPacket = 32768
    /// The maximum of an error's text, in bytes.
    private static let maxError = 16384

    package let descriptor: FileDescriptor

    package init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// Sets how long this end waits for the next message.
    package func setLimit(_ limit: Duration) { descriptor.setReadLimit(limit) }

    /// Sends bytes of any length: their count first, then packets.
    /// - Throws: `SystemError` with the errno of sendmsg(2), such as EPIPE when the other end is closed.
    package func send(document: [UInt8]) throws(SystemError) {
        // SAFETY: a number has no padding; its bytes are copied at once.
        try unsafe descriptor.send(withUnsafeBytes(of: UInt32(document.count)) { unsafe Array($0) }, descriptors: [])
        var rest = document[...]
        while !rest.isEmpty {
            try descriptor.send(Array(rest.prefix(Self.maxPacket)), descriptors: [])
            rest = rest.dropFirst(Self.maxPacket)
        }
    }

    func receive<Plan: PlanCodable>(_ type: Plan.Type) throws(SystemError) -> Plan {
        guard let plan = PlanCoder.read(type, try receiveDocument()) else {
            throw SystemError("read", "plan", errno: EBADMSG)
        }
        return plan
    }

    /// Receives the bytes of `send(document:)`. Blocks until they are there.
    /// - Throws: `SystemError`: EPIPE when the packets end too early, or the first one is no count. ETIMEDOUT when the
    ///   next one is late, EBADMSG when there are more bytes than announced.
    package func receiveDocument() throws(SystemError) -> [UInt8] {
        let packet = receive()
        if packet.isLate { throw SystemError("read", "plan", errno: ETIMEDOUT) }
        let count = packet.bytes
        guard count.count == 4 else { throw SystemError("read", "plan", errno: EPIPE) }
        // SAFETY: the guard has checked that there are four bytes.
        let total = unsafe Int(count.withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt32.self) })
        var document: [UInt8] = []
        while document.count < total {
            let packet = receive()
            if packet.isLate { throw SystemError("read", "plan", errno: ETIMEDOUT) }
            if packet.bytes.isEmpty { throw SystemError("read", "plan", errno: EPIPE) }
            document += packet.bytes
        }
        guard document.count == total else { throw SystemError("read", "plan", errno: EBADMSG) }
        return document
    }

    /// Sends the flags, then the instructions; no bytes for a process without a filter.
    /// - Throws: as `send(document:)`.
    package func send(_ filter: SeccompFilter?) throws(SystemError) {
        let words = filter.map { [UInt64($0.flags)] + $0.instructions } ?? []
        // SAFETY: numbers have no padding; their bytes are copied at once.
        try unsafe send(document: words.withUnsafeBytes { unsafe Array($0) })
    }

    /// Receives the filter of the process. Blocks until it is there.
    /// - Returns: nil for a process without a filter.
    /// - Throws: as `receiveDocument`.
    package func receiveFilter() throws(SystemError) -> SeccompFilter? {
        let bytes = try receiveDocument()
        let words = stride(from: 0, to: bytes.count - 7, by: 8).map { offset in
            // SAFETY: the stride leaves eight bytes at every offset.
            unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        }
        guard let flags = words.first else { return nil }
        return SeccompFilter(instructions: Array(words.dropFirst()), flags: UInt32(truncatingIfNeeded: flags))
    }

    /// Sends a message. Cuts the text of a failure at 16 KiB; `end` sends nothing.
    /// - Throws: as `send(document:)`. Also EBADF for a terminal whose descriptor is closed.
    package func send(_ message: Message) throws(SystemError) {
        switch message {
        case .terminal(let master): try descriptor.send(Array("T".utf8), descriptors: [master])
        case .process(let pid): try descriptor.send(Array("P\(pid)".utf8), descriptors: [])
        case .mapUsers: try descriptor.send(Array("M".utf8), descriptors: [])
        case .ready: try descriptor.send(Array("R".utf8), descriptors: [])
        case .failure(let text): try descriptor.send(Array("E\(text)".utf8.prefix(Self.maxError)), descriptors: [])
        case .end: break
        }
    }

    /// Sends a go-ahead, for `waitForGo` at the other end.
    /// - Throws: as `send(document:)`.
    package func sendGo() throws(SystemError) { try descriptor.send(Array("S".utf8), descriptors: []) }

    /// Waits for the go-ahead.
    /// - Returns: false when the agent has given up.
    package func waitForGo() -> Bool { receive().bytes.first == UInt8(ascii: "S") }

    /// Blocks until the next message.
    package func next() -> Message {
        let (bytes, passed, isLate) = receive()
        if isLate { return .failure("the process's init took too long") }
        let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
        switch bytes.first {
        case UInt8(ascii: "T"):
            return passed >= 0 ? .terminal(passed) : .failure("no descriptor came with the terminal")
        case UInt8(ascii: "P"): return .process(Int32(text) ?? -1)
        case UInt8(ascii: "M"): return .mapUsers
        case UInt8(ascii: "R"): return .ready
        case UInt8(ascii: "E"): return .failure(text)
        default: return .end
        }
    }

    /// - Returns: the next packet, with the descriptor that came with it, or -1. `isLate`: none came within the limit.
    private func receive() -> (bytes: [UInt8], passed: Int32, isLate: Bool) {
        var passed: Int32 = -1
        var count = 1
        // SAFETY: the call writes at most `$0.count` bytes and, as `count` is 1, one descriptor.
        let (bytes, got) = unsafe readBytes(upTo: 65536) {
            count = 1
            return unsafe clx_recv_fds(descriptor.raw, $0.baseAddress, $0.count, &passed, &count)
        }
        return (bytes, count == 1 ? passed : -1, got == -Int(EAGAIN))
    }
}
