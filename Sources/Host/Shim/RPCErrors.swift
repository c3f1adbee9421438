import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Share
import SocketForward
import TTRPC

/// The readers of a call's refusal.
enum Readers {
    /// Programs, which act on the code.
    case programs
    /// People: managers print the text of a failed Create, Exec or Start, behind any code but `unknown`. As with runc,
    /// the text alone says what is wrong; the codes for a state stay.
    case people
}

/// Throws errors of `body` as RPC errors: the gRPC code that containerd acts on, and a message that managers print.
func mappingErrorsToRPC<Result: Sendable>(
    for readers: Readers = .programs, _ body: () async throws -> Result
) async throws -> Result {
    do { return try await body() } catch {
        let code = readers == .people ? stateCode(of: error) : code(of: error)
        throw RPCError(code, "\(error)".printable(limit: maxMessageLength))
    }
}

/// Maximum length of a message in bytes. It may quote the guest's console.
private let maxMessageLength = 8 << 10

private func code(of error: any Error) -> RPCError.Code {
    switch error {
    case let error as RPCError: error.code == .internal ? .unknown : error.code
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

/// The code for errors that tell the state of a container or of its machine; `unknown` for all others.
private func stateCode(of error: any Error) -> RPCError.Code {
    switch error {
    case let error as SandboxError: error.kind == .invalid ? .unknown : code(of: error)
    case let error as RPCError:
        [.deadlineExceeded, .unavailable, .unimplemented].contains(error.code) ? error.code : .unknown
    default: .unknown
    }
}
