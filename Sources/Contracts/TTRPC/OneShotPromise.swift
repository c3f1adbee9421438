import NIOCore
import Synchronization

/// A promise that several parties may complete: the first one does.
final class OneShotPromise<Value: Sendable>: Sendable {
    private let promise: Mutex<EventLoopPromise<Value>?>

    init(_ promise: EventLoopPromise<Value>) { self.promise = Mutex(promise) }

    func complete(_ result: Result<Value, any Error>) {
        let promise = promise.withLock { promise in
            defer { promise = nil }
            return promise
        }
        promise?.completeWith(result)
    }
}
