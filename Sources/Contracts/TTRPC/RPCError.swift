/// A failed call: a gRPC status code and one line of text.
package struct RPCError: Error, Equatable, CustomStringConvertible {
    /// Status codes of gRPC, by number (google/rpc/code.proto).
    package enum Code: Int32, Sendable {
        case ok = 0
        case cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
        case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, `internal`, unavailable
        case dataLoss, unauthenticated
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
