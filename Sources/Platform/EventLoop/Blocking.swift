import LinuxKernel
import NIOCore

/// Runs a blocking call on a new thread.
/// - Parameter name: names the thread.
/// - Throws: `SystemError` when the thread can't be started; the errors of `body`.
package func blocking<Result: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> Result) async throws
    -> Result
{
    try await withCheckedThrowingContinuation { continuation in
        do { try startThread(name) { continuation.resume(with: Swift.Result { try body() }) } } catch {
            continuation.resume(throwing: error)
        }
    }
}

/// A blocking call that runs on a new thread while its caller does something else.
package struct BackgroundCall<Result: Sendable>: Sendable {
    private let promise: EventLoopPromise<Result>

    /// Starts the call.
    /// - Throws: when the thread can't be started.
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

    /// Waits for the result.
    /// - Throws: the errors of the call.
    package func result() async throws -> Result { try await promise.futureResult.get() }
}
