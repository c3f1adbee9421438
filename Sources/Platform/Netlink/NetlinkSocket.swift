import CLinux
import Glibc
import LinuxKernel

/// A socket of rtnetlink(7): lists and changes links, addresses, routes and neighbours of the calling thread's network
/// namespace. Calls block, at most `answerSeconds` for each answer.
package final class NetlinkSocket {
    private let descriptor: FileDescriptor
    private var sequence: UInt32 = 0
    private static let answerSeconds: Int32 = 5

    /// Opens a socket in the calling thread's network namespace.
    /// - Throws: `SystemError` with the errno of socket(2) or bind(2), such as EMFILE.
    package init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "rtnetlink", clx_netlink_route(Self.answerSeconds, 0)))
    }

    /// A change to ask for.
    package struct Request: Sendable {
        let type: UInt16
        let flags: UInt16
        let payload: [UInt8]
        let operation: String
        let object: String

        init(_ type: UInt16, flags: UInt16, _ payload: [UInt8], _ operation: String, _ object: String) {
            (self.type, self.flags, self.payload) = (type, flags, payload)
            (self.operation, self.object) = (operation, object)
        }

        fileprivate func error(_ errno: Int32, _ words: String = "") -> SystemError {
            SystemError(operation, words.isEmpty ? object : "\(object) (\(words))", errno: errno)
        }
    }

    /// Requests changes in their order. A failure doesn't stop those that follow.
    /// - Returns: the failure of each request; nil where it has none.
    /// - Throws: `SystemError` when the socket fails; EAGAIN without an answer in time. The kernel may have made
    ///   changes then.
    package func perform(_ requests: [Request]) throws(SystemError) -> [SystemError?] {
        var results: [SystemError?] = []
        var rest = requests[...]
        while !rest.isEmpty {
            let batch = rest.prefix(Self.maxBatch)
            results += try performBatch(Array(batch))
            rest = rest.dropFirst(batch.count)
        }
        return results
    }

    /// The number of requests that are sent together: their acknowledgements must fit into the socket's buffer.
    private static let maxBatch = 64

    private func performBatch(_ batch: [Request]) throws(SystemError) -> [SystemError?] {
        let first = sequence &+ 1
        var datagram: [UInt8] = []
        for request in batch {
            sequence &+= 1
            datagram += NetlinkMessage.request(
                request.type, flags: request.flags | MessageFlags.acknowledge, sequence: sequence, request.payload)
        }
        try send(datagram)
        var results = [SystemError?](repeating: nil, count: batch.count)
        var missing = batch.count
        while missing > 0 {
            for message in try receive() {
                let index = Int(message.sequence &- first)
                guard index < batch.count, let failure = message.failure else { continue }
                missing -= 1
                if failure.errno != 0 { results[index] = batch[index].error(failure.errno, failure.words) }
            }
        }
        return results
    }

    /// Requests one change and waits for the kernel's acknowledgement.
    func perform(_ request: Request) throws(SystemError) {
        if let failure = try performBatch([request])[0] { throw failure }
    }

    func acknowledge(
        _ type: UInt16, flags: UInt16, _ payload: [UInt8], _ operation: String, _ object: String
    ) throws(SystemError) {
        try perform(Request(type, flags: flags, payload, operation, object))
    }

    /// Lists all objects of a kind. Asks again for a list during which the kernel's objects have changed.
    /// - Parameters:
    ///   - header: the kind's struct, which the kernel wants even where all its fields are 0.
    ///   - answers: the type of the messages that hold the objects.
    /// - Throws: `SystemError` with the kernel's errno; EINTR for objects that don't stop changing. EAGAIN without an
    ///   answer in time.
    func dump(
        _ type: UInt16, header: [UInt8], _ object: String, of answers: UInt16
    ) throws(SystemError) -> [NetlinkMessage] {
        for _ in 0..<Self.maxLists {
            sequence &+= 1
            let number = sequence
            try send(NetlinkMessage.request(type, flags: MessageFlags.dump, sequence: number, header))
            var list = NetlinkList(of: answers)
            while !list.hasEnded {
                for message in try receive() where message.sequence == number { list.take(message) }
            }
            if let errno = list.errno { throw SystemError("list", object, errno: errno) }
            if !list.hasChanged { return list.messages }
        }
        throw SystemError("list", object, errno: EINTR)
    }

    /// The maximum of lists that are asked for until one is whole.
    private static let maxLists = 20

    func dump(
        _ type: UInt16, header size: Int, _ object: String, of answers: UInt16
    ) throws(SystemError) -> [NetlinkMessage] {
        try dump(type, header: [UInt8](repeating: 0, count: size), object, of: answers)
    }

    private func send(_ datagram: [UInt8]) throws(SystemError) {
        // SAFETY: send(2) only reads the datagram, within its length.
        try check("ask", "rtnetlink") { unsafe Glibc.send(descriptor.raw, datagram, datagram.count, 0) }
    }

    private func receive() throws(SystemError) -> [NetlinkMessage] {
        // SAFETY: recv(2) writes at most `count` bytes.
        let (bytes, count) = unsafe readBytes(upTo: 65536) { unsafe recv(descriptor.raw, $0.baseAddress, $0.count, 0) }
        try checkNegativeErrno("hear from", "rtnetlink", count)
        return NetlinkMessage.parse(bytes)
    }
}

/// The answers to a request for a list.
struct NetlinkList {
    private let answers: UInt16
    /// The objects so far.
    private(set) var messages: [NetlinkMessage] = []
    /// Whether the kernel has sent the last message.
    private(set) var hasEnded = false
    /// The reason why the kernel ended the list early.
    private(set) var errno: Int32?
    /// Whether objects came or went meanwhile: some may be missing.
    private(set) var hasChanged = false

    /// - Parameter answers: the type of the messages that hold the objects.
    init(of answers: UInt16) { self.answers = answers }

    mutating func take(_ message: NetlinkMessage) {
        guard !hasEnded else { return }
        if message.flags & MessageFlags.listChanged != 0, message.type != MessageType.error { hasChanged = true }
        if let failure = message.failure, failure.errno != 0 { errno = failure.errno }
        if message.type == MessageType.done || message.failure != nil { hasEnded = true }
        if message.type == answers { messages.append(message) }
    }
}
