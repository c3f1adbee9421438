import SwiftProtobuf

/// A failed call: a gRPC status code and one line.
package struct RPCError: Error, Equatable, CustomStringConvertible {
    package enum Code: Int32, Sendable {
        case ok = 0
        case cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
        case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, `internal`, unavailable,
            dataLoss
        case unauthenticated
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}

/// What a handler knows of its call beside the request.
package struct CallContext: Sendable {
    /// A key may come more than once.
    package let metadata: [String: [String]]
    /// How long the caller waits; nil: for ever.
    package let timeout: Duration?

    package init(metadata: [String: [String]] = [:], timeout: Duration? = nil) {
        self.metadata = metadata
        self.timeout = timeout
    }
}

/// The methods of a service by their names on the wire: request bytes in, reply bytes out; nil: there is none of that name.
///
/// No table of them: to make one costs the types of all messages, of which a start needs few.
package typealias RPCService =
    @Sendable (_ method: String, _ payload: [UInt8], _ context: CallContext) async throws -> [UInt8]?

/// Calls a typed method. A request that can't be decoded is the caller's mistake.
package func unary<Request: Message, Reply: Message>(
    _ payload: [UInt8], _ context: CallContext, _ method: (Request, CallContext) async throws -> Reply
) async throws -> [UInt8] {
    let request: Request
    do { request = try Request(serializedBytes: payload) } catch {
        throw RPCError(.invalidArgument, "not a \(Request.protoMessageName): \(error)")
    }
    return try await method(request, context).serializedBytes()
}
