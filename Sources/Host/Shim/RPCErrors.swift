import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Share
import SocketForward
import TTRPC

/// Throws errors of `body` as RPC errors: the gRPC code that containerd acts on, and a message that managers print.
func mappingErrorsToRPC<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
    do { return try await body() } catch {
        throw RPCError(code(of: error), "\(error)".printable(limit: maxMessageLength))
    }
}

/// Maximum length of a message in bytes. It may quote the guest's console.
private let maxMessageLength = 8 << 10

private func code(of error: any Error) -> RPCError.Code {
    switch error {
    case let error as RPCError: error.code
    case let error as SandboxError:
        switch error.kind {
        case .notFound: .notFound
        case .alreadyExists: .alreadyExists
        case .wrongState: .failedPrecondition
        case .invalid: .invalidArgument
        case .guest, .host: .unknown
        }
    case is SpecError, is IdentifierError, is ShareError, is SocketForwardError: .invalidArgument
    case let error as SystemError: error.code == ENOENT ? .notFound : .unknown
    default: .unknown
    }
}
