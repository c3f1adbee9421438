import AgentAPI
import Container
import Glibc
import LinuxKernel
import TTRPC

/// grpc.AgentService; each method has a file in this folder.
final class Service: AgentService {
    let guest: Guest
    init(guest: Guest) { self.guest = guest }
}

/// Runs a method's body and gives its errors the status code that clients act on.
/// - Throws: `RPCError` only.
func mappingErrorsToRPC<Result>(_ body: () async throws -> Result) async throws -> Result {
    do { return try await body() } catch let error as RPCError { throw error } catch let error as PlanError {
        throw RPCError(.invalidArgument, error.description)
    } catch let error as SystemError {
        throw RPCError(error.code == ENOENT ? .notFound : .internal, error.description)
    } catch { throw RPCError(.internal, "\(error)") }
}

/// The service, with a line in the log for each call that ends, at level `debug`.
func loggingCalls(_ service: @escaping RPCService) -> RPCService {
    { method, payload, context in
        guard log.level <= .debug else { return try await service(method, payload, context) }
        let begin = ContinuousClock.now
        func report(_ outcome: String) {
            let milliseconds = (ContinuousClock.now - begin) / .milliseconds(1)
            log.debug("call", ["method": method, "milliseconds": "\(Int(milliseconds))", "outcome": outcome])
        }
        do {
            let reply = try await service(method, payload, context)
            report("ok")
            return reply
        } catch {
            report("\(error)")
            throw error
        }
    }
}
