import Glibc
import Linux
import OCISpec
import Sandbox
import TTRPC

/// Turns what went wrong into the gRPC code that containerd acts on.
func answering<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
    do { return try await body() } catch let error as RPCError { throw error } catch let error as SandboxError {
        let code: RPCError.Code =
            switch error.kind {
            case .notFound: .notFound
            case .alreadyExists: .alreadyExists
            case .wrongState: .failedPrecondition
            case .invalid: .invalidArgument
            case .guest, .host: .unknown
            }
        throw RPCError(code, error.description)
    } catch let error as SpecError {
        throw RPCError(.invalidArgument, error.description)
    } catch let error as SystemError {
        throw RPCError(error.code == ENOENT ? .notFound : .unknown, error.description)
    } catch { throw RPCError(.unknown, "\(error)") }
}
