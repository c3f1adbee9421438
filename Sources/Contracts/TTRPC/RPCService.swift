import SwiftProtobuf
import Synchronization

/// The facts of a call beside its request.
package struct CallContext: Sendable {
    /// A key may appear more than once.
    package let metadata: [String: [String]]
    /// How long the caller waits; nil means without limit.
    package let timeout: Duration?
    /// Pid of the process that has connected (SO_PEERCRED, unix(7)); nil where the socket or this pid namespace has
    /// none.
    package let client: Int32?
    private let answer: AnswerObservers

    package init(metadata: [String: [String]] = [:], timeout: Duration? = nil, client: Int32? = nil) {
        self.init(metadata: metadata, timeout: timeout, client: client, answer: AnswerObservers())
    }

    init(metadata: [String: [String]], timeout: Duration?, client: Int32?, answer: AnswerObservers) {
        (self.metadata, self.timeout, self.client, self.answer) = (metadata, timeout, client, answer)
    }

    /// Runs `body` once the server has written this call's answer to the socket, or can't write it any more.
    ///
    /// For handlers that end their process, which they must not do before the answer is out. Also for those whose work
    /// is lost on a client that has gone. A handler that a unit test calls without a server never runs `body`.
    /// - Parameter body: gets whether the handler's own answer was written. It was not where the client has gone, or
    ///   was told that its deadline has passed.
    package func whenAnswered(_ body: @escaping @Sendable (_ isWritten: Bool) -> Void) { answer.add(body) }
}

/// Actions that wait for a call's answer to be written.
final class AnswerObservers: Sendable {
    private struct State {
        /// Whether the answer was written; nil while it is not known.
        var isWritten: Bool?
        var isExpired = false
        var waiting: [@Sendable (Bool) -> Void] = []
    }
    private let state = Mutex(State())

    func add(_ body: @escaping @Sendable (Bool) -> Void) {
        let isWritten = state.withLock { state in
            if state.isWritten == nil { state.waiting.append(body) }
            return state.isWritten
        }
        if let isWritten { body(isWritten) }
    }

    /// Notes that the answer will tell of the deadline.
    func expire() { state.withLock { $0.isExpired = true } }

    func answered(isWritten: Bool) {
        let (isWritten, bodies) = state.withLock { state in
            let isWritten = isWritten && !state.isExpired
            state.isWritten = isWritten
            defer { state.waiting = [] }
            return (isWritten, state.waiting)
        }
        for body in bodies { body(isWritten) }
    }
}

/// A service: takes a method's name and the request's bytes, returns the reply's bytes; nil for an unknown method.
///
/// A table of methods would need the types of all messages at start, of which few are used.
package typealias RPCService =
    @Sendable (_ method: String, _ payload: [UInt8], _ context: CallContext) async throws -> [UInt8]?

/// Decodes the request, calls a typed method and encodes its reply.
/// - Throws: `RPCError` with `invalidArgument` for a request that can't be decoded; whatever the method throws.
package func unary<Request: Message, Reply: Message>(
    _ payload: [UInt8], _ context: CallContext, _ method: (Request, CallContext) async throws -> Reply
) async throws -> [UInt8] {
    let request: Request
    do { request = try Request(serializedBytes: payload) } catch {
        throw RPCError(.invalidArgument, "not a \(Request.protoMessageName): \(error)")
    }
    return try await method(request, context).serializedBytes()
}
