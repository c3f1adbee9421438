import SwiftProtobuf
import Synchronization

/// The facts of a call beside its request.
package struct CallContext: Sendable {
    /// A key may appear more than once.
    package let metadata: [String: [String]]
    /// How long the caller waits; nil means without limit.
    package let timeout: Duration?
    private let answer: AnswerObservers

    package init(metadata: [String: [String]] = [:], timeout: Duration? = nil) {
        self.init(metadata: metadata, timeout: timeout, answer: AnswerObservers())
    }

    init(metadata: [String: [String]], timeout: Duration?, answer: AnswerObservers) {
        (self.metadata, self.timeout, self.answer) = (metadata, timeout, answer)
    }

    /// Runs `body` once the server has written this call's answer to the socket, or can't write it any more.
    ///
    /// For handlers that end their process: they must not end it before the answer is out. A handler that a unit test
    /// calls without a server never runs `body`.
    package func whenAnswered(_ body: @escaping @Sendable () -> Void) { answer.add(body) }
}

/// Actions that wait for a call's answer to be written.
final class AnswerObservers: Sendable {
    /// nil: the answer has been written.
    private let waiting = Mutex<[@Sendable () -> Void]?>([])

    func add(_ body: @escaping @Sendable () -> Void) {
        let isWritten = waiting.withLock { waiting in
            waiting?.append(body)
            return waiting == nil
        }
        if isWritten { body() }
    }

    func answerIsWritten() {
        let bodies = waiting.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        for body in bodies ?? [] { body() }
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
