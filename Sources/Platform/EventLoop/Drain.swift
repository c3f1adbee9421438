import LinuxKernel
import NIOCore
import Streams
import Synchronization

/// Returns when all streams have ended, when no byte has moved for `quiet`, or after `limit`.
///
/// Children of an exited process may hold its output open, so that end of file never comes.
package func drained(
    _ streams: [StreamRelay.Handle], quiet: Duration, limit: Duration, on loop: any EventLoop
) async {
    if streams.isEmpty { return }
    let promise = loop.makePromise(of: Void.self)
    let open = Mutex(streams.count)
    let deadline = NIODeadline.now() + TimeAmount(limit)
    let moved = Mutex(-1)
    let timer = loop.scheduleRepeatedTask(initialDelay: TimeAmount(quiet), delay: TimeAmount(quiet)) { _ in
        let now = streams.reduce(0) { $0 + $1.moved }
        let before = moved.withLock { moved in
            defer { moved = now }
            return moved
        }
        if now == before || .now() > deadline { promise.succeed() }
    }
    for stream in streams {
        stream.whenEnded {
            let left = open.withLock { open in
                open -= 1
                return open
            }
            if left == 0 { promise.succeed() }
        }
    }
    try? await promise.futureResult.get()
    timer.cancel()
}
