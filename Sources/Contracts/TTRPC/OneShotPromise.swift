import NIOCore
import Synchronization

/// A promise that several parties may complete: the first one does.
package final class OneShotPromise<Value: Sendable>: Sendable {
    private let promise: Mutex<EventLoopPromise<Value>?>

    package init(_ promise: EventLoopPromise<Value>) { self.promise = Mutex(promise) }

    package func complete(_ result: Result<Value, any Error>) {
        let promise = promise.withLock { promise in
            defer { promise = nil }
            return promise
        }
        promise?.completeWith(result)
    }
}
