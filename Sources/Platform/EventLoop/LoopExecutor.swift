import NIOCore

/// Runs Swift tasks and actors on an event loop, so that a process needs no thread pool.
///
/// Each job is a new turn of the loop and never runs in place, so that jobs of an actor can't nest.
package final class LoopExecutor: TaskExecutor, SerialExecutor {
    package let loop: any EventLoop

    package init(_ loop: any EventLoop) { self.loop = loop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in
            // SAFETY: each job is run once, and the closure holds the executor.
            unsafe job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
    }

    // SAFETY: each user holds the executor: an actor by a property, a job by its closure.
    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }
    package func asUnownedTaskExecutor() -> UnownedTaskExecutor { unsafe UnownedTaskExecutor(ordinary: self) }
}

/// Suspends for `duration` by a timer of the loop; `Task.sleep` would start libdispatch's threads.
/// - Throws: `CancellationError` when the task is cancelled.
package func sleep(_ duration: Duration, on loop: any EventLoop) async throws {
    let promise = loop.makePromise(of: Void.self)
    let timer = loop.scheduleTask(in: TimeAmount(duration)) { promise.succeed() }
    try await withTaskCancellationHandler {
        try await promise.futureResult.get()
    } onCancel: {
        timer.cancel()
        promise.fail(CancellationError())
    }
}

/// Runs `body` on the loop and blocks until it is done. Must not be called on the loop's thread.
/// - Throws: the errors of `body`.
package func waiting<Result: Sendable>(
    on loop: any EventLoop, _ body: @escaping @Sendable () async throws -> Result
) throws -> Result {
    let promise = loop.makePromise(of: Result.self)
    Task(executorPreference: LoopExecutor(loop)) {
        do { promise.succeed(try await body()) } catch { promise.fail(error) }
    }
    return try promise.futureResult.wait()
}
