import LinuxKernel
import NIOCore

/// Runs a call that blocks on a thread of its own.
package func blocking<Result: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> Result) async throws
    -> Result
{
    try await withCheckedThrowingContinuation { continuation in
        do { try startThread(name) { continuation.resume(with: Swift.Result { try body() }) } } catch {
            continuation.resume(throwing: error)
        }
    }
}

/// A call that blocks, begun at once on a thread of its own, while its caller does something else.
package struct BackgroundCall<Result: Sendable>: Sendable {
    private let promise: EventLoopPromise<Result>

    /// - Throws: where the host has no thread for it.
    package init(_ name: String, on loop: any EventLoop, _ body: @escaping @Sendable () throws -> Result)
        throws(SystemError)
    {
        let promise = loop.makePromise(of: Result.self)
        self.promise = promise
        do { try startThread(name) { promise.completeWith(Swift.Result { try body() }) } } catch {
            promise.fail(error)
            throw error
        }
    }

    /// To be called once it is needed; nobody else waits for it.
    package func result() async throws -> Result { try await promise.futureResult.get() }
}
